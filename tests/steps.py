"""What the tests of training options share: a run of one model, and the loss of its steps computed by hand."""

import numpy as np
import torch

CLASSES = 11
# Models of so few steps are sure of nothing: with gamma 2, all weights would be about 0.
GAMMA1, GAMMA2 = 0.5, 1.0
LOSS = dict(type='DynamicMutualLoss', gamma1=GAMMA1, gamma2=GAMMA2)
# One model that teaches itself once: 00_train_a, 01_label_a, 01_train_a, of 4 steps each.
SELF_TAUGHT = {
    'dmt.scheme': 'self',
    'dmt.models': dict(_delete_=True, a=dict()),
    'dmt.label_ratios': (0.5,),
    'model.decode_head.loss_decode': LOSS,
}


def by_hand(call, class_weight=None):
    """Sum of the weighted cross-entropies of a call, and the sum of class weights, pixel by pixel in float64."""
    total = divisor = 0.0
    class_weight = [1.0] * CLASSES if class_weight is None else class_weight
    logits = call.logits.double().numpy()
    log_prob = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    for index in np.ndindex(*call.label.shape):
        label, pixel = int(call.label[index]), log_prob[index[0], :, index[1], index[2]]
        if label == 255:
            continue
        confidence = 2.0 if call.confidence is None else float(call.confidence[index])
        if confidence > 1:
            weight = 1.0
        elif pixel.argmax() == label:
            weight = np.exp(pixel[label]) ** GAMMA1
        else:
            weight = 0.0 if confidence < np.exp(pixel.max()) else np.exp(pixel[label]) ** GAMMA2
        factor = 1.0 if call.weight is None else float(call.weight[index])
        total -= weight * factor * class_weight[label] * pixel[label]
        divisor += class_weight[label]
    return total, divisor


def pseudo_labeled(call):
    """Number of pixels that a teacher labeled."""
    return int(((call.label != 255) & (call.confidence <= 1)).sum())


def checkpoint(runner, phase):
    return torch.load(runner.manifest.checkpoint(phase), weights_only=False)
