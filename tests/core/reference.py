"""A slow, independent form of the dynamic weight and loss, and pixels for values computed by hand."""

import math

import torch

from mmdmt.core.dynamic_weight import HUMAN

GAMMAS = [(0, 0), (5, 5), (2, 3), (0, 4), (3, 0), (0.5, 1.5)]
VARIANTS = ['dmt', 'naive', 'flip']

# Student probabilities (.7, .2, .1) at every pixel of the hand-computed cases.
PROBABILITIES = (0.7, 0.2, 0.1)
LABELS = [0, 1, 1, 2, 255, 255]
CONFIDENCES = [0.9, 0.9, 0.5, HUMAN, 0.9, HUMAN]


def pixels(labels, confidences):
    number = len(labels)
    logits = torch.tensor(PROBABILITIES).log().view(1, 3, 1).repeat(1, 1, number)
    return logits, torch.tensor([labels]), torch.tensor([confidences])


def slow_pixel_weight(probability, label, confidence, gamma1, gamma2, variant):
    """Weight, trained label, disagree, student_wins of one valid pixel, in Python floats."""
    student = max(range(len(probability)), key=probability.__getitem__)
    pseudo = confidence <= 1
    disagree = pseudo and student != label
    wins = disagree and confidence < probability[student]
    if not pseudo or (gamma1 == 0 and gamma2 == 0):
        return 1.0, label, disagree, wins
    if variant == 'naive' or not disagree:
        return probability[label] ** gamma1, label, disagree, wins
    if not wins:
        return probability[label] ** gamma2, label, disagree, wins
    if variant == 'flip':
        return (1 - confidence) ** gamma2, student, disagree, wins
    return 0.0, label, disagree, wins


def slow_loss(logits, label, confidence, gamma1, gamma2, variant, class_weight=None, pixel_weight=None):
    """Loss by a loop over pixels in float64; also the list of (weight, label, disagree, wins) of all pixels."""
    total, denominator, decisions = torch.zeros((), dtype=torch.float64), 0.0, []
    for image in range(logits.shape[0]):
        for row in range(logits.shape[2]):
            for column in range(logits.shape[3]):
                target = int(label[image, row, column])
                if target == 255:
                    decisions.append((0.0, 255, False, False))
                    continue
                log_prob = logits[image, :, row, column].log_softmax(0)
                decision = slow_pixel_weight(
                    [math.exp(value) for value in log_prob.tolist()],
                    target,
                    float(confidence[image, row, column]),
                    gamma1,
                    gamma2,
                    variant,
                )
                decisions.append(decision)
                scale = 1.0 if class_weight is None else float(class_weight[decision[1]])
                denominator += scale
                if pixel_weight is not None:
                    scale *= float(pixel_weight[image, row, column])
                total = total - decision[0] * scale * log_prob[decision[1]]
    return total / max(denominator, 1e-300), decisions
