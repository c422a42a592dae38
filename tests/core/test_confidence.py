import math
import re

import numpy as np
import pytest
import torch

from mmdmt.core.confidence import decode, encode, top_log_odds

UINT16 = [torch.uint16] if hasattr(torch, 'uint16') else []  # not in torch 2.1


def slow_encode(scores):
    """Label and code of one pixel, in Python floats."""
    label = max(range(len(scores)), key=scores.__getitem__)
    others = math.log(sum(math.exp(score) for index, score in enumerate(scores) if index != label))
    scaled = (scores[label] - others + 6) / 32 * 65535
    return label, round(min(max(scaled, 0), 65535))


@pytest.mark.parametrize('classes', [2, 5, 21])
@pytest.mark.parametrize('scale', [0.1, 3, 15])
def test_encode_equals_slow_reference(classes, scale):
    logits = scale * torch.randn(2, classes, 4, 5, generator=torch.Generator().manual_seed(1))
    label, code = encode(logits)
    assert (label.dtype, code.dtype) == (torch.uint8, torch.int32)
    assert label.shape == code.shape == (2, 4, 5)
    for image, row, column in np.ndindex(2, 4, 5):
        slow_label, slow_code = slow_encode(logits[image, :, row, column].tolist())
        assert label[image, row, column] == slow_label
        # float32 may fall on the other side of a rounding boundary.
        assert abs(code[image, row, column].item() - slow_code) <= 1


@pytest.mark.parametrize(
    ('logits', 'label', 'code'),
    [
        ([0.0, 0.0], 0, 12288),  # z = 0: 6 / 32 * 65535 = 12287.8
        ([0.0, 10.0], 1, 32768),  # z = 10: exactly half, 32767.5, rounded to even
        ([26.0, 0.0], 0, 65535),
        ([0.0, 50.0, 0.0], 1, 65535),
        ([-math.inf, -math.inf, 3.0], 2, 65535),
    ],
)
def test_encode_by_hand(logits, label, code):
    labels, codes = encode(torch.tensor([logits]))
    assert (labels.tolist(), codes.tolist()) == ([label], [code])


def test_the_lowest_confidence_of_255_classes_is_not_clamped():
    _, code = encode(torch.zeros(1, 255))
    assert code.item() > 0
    assert decode(code).item() == pytest.approx(1 / 255, abs=1e-5)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_encoded_in_float32(dtype):
    logits = torch.tensor([[9.0, 0.0], [12.0, 0.0]], dtype=dtype)
    label, code = encode(logits)
    assert label.tolist() == [0, 0]
    assert code.tolist() == [round(15 / 32 * 65535), round(18 / 32 * 65535)]


@pytest.mark.parametrize('classes', [2, 19, 255])
def test_round_trip_error(classes):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(20000, classes, generator=generator) * torch.linspace(0, 12, 20000)[:, None]
    label, code = encode(logits)
    probability, expected = logits.double().softmax(1).max(1)
    assert torch.equal(label.long(), expected)
    decoded = decode(code)
    assert (decoded.double() - probability).abs().max() <= 1e-4
    assert decoded.max() <= 1


def test_half_precision_confidences_by_hand():
    # 3/4 has an exact half; the next half under 1 is 1 - 2**-11, and what lies above the middle between them is 1.
    probability = torch.tensor([0.75, 1 - 2**-11, 1 - 2**-12 - 1e-5, 1 - 2**-12 + 1e-5], dtype=torch.float64)
    logits = torch.stack([probability.logit(), torch.zeros(4)])[None].float()
    exact, rounded = encode(logits)[1][0].tolist(), encode(logits, half=True)[1][0].tolist()
    assert rounded[0] == exact[0]
    assert abs(rounded[1] - exact[1]) <= 1
    assert rounded[2] == rounded[1] < exact[2]
    assert rounded[3] == 65535 > exact[3]


def test_decode_by_hand():
    code = torch.tensor([0, 65535])
    expected = torch.tensor([1 / (1 + math.exp(6)), 1 / (1 + math.exp(-26))])
    torch.testing.assert_close(decode(code), expected, atol=1e-7, rtol=0)


def test_decode_is_monotone_and_at_most_one():
    decoded = decode(torch.arange(65536))
    assert decoded.dtype == torch.float32
    assert (decoded.diff() >= 0).all()
    # Up to a probability of 0.98 a step of the code is far above float32 precision.
    assert (decoded[:20000].diff() > 0).all()
    assert decoded.max() <= 1


def test_encode_is_monotone_where_probabilities_saturate():
    # From z = 17 on, a float32 probability is 1; the codes still tell these apart.
    _, code = encode(torch.stack([torch.linspace(0, 25.9, 10000), torch.zeros(10000)], dim=1))
    assert (code.diff() > 0).all()


@pytest.mark.parametrize('dtype', [*UINT16, torch.int32, torch.int64])
def test_decode_takes_integer_dtypes(dtype):
    values = np.array([0, 1, 32768, 65535])
    code = torch.from_numpy(values.astype(np.uint16)) if dtype in UINT16 else torch.from_numpy(values).to(dtype)
    assert code.dtype == dtype
    assert torch.equal(decode(code), decode(torch.from_numpy(values)))


@pytest.mark.parametrize('shape', [(2, 1, 4, 4), (2, 256, 4, 4), (5,)])
def test_encode_refuses_class_numbers(shape):
    with pytest.raises(ValueError, match=r'2\.\.255.*' + str(list(shape)).replace('[', r'\[').replace(']', r'\]')):
        encode(torch.zeros(shape))


def test_encode_refuses_a_diverged_teacher():
    with pytest.raises(ValueError, match='NaN'):
        encode(torch.tensor([[0.0, math.nan]]))


def test_decode_refuses_probabilities():
    with pytest.raises(ValueError, match='float32'):
        decode(torch.tensor([0.5]))


def slow_log_odds(scores):
    """Label and log-odds of one image, in Python floats."""
    label = max(range(len(scores)), key=scores.__getitem__)
    highest = max(score for index, score in enumerate(scores) if index != label)
    rest = sum(math.exp(score - highest) for index, score in enumerate(scores) if index != label)
    return label, scores[label] - highest - math.log(rest)


@pytest.mark.parametrize(
    ('logits', 'label', 'log_odds'),
    [
        ([0.0, 0.0], 0, 0),
        ([1.0, 3.5], 1, 2.5),
        ([4.0, 4.0, 4.0, 4.0], 0, -math.log(3)),
        ([math.log(2), math.log(3), math.log(5)], 2, 0),  # 5 against 2 + 3
        ([-math.inf, 3.0, 1.0], 1, 2),
        ([-math.inf, -math.inf, 3.0], 2, math.inf),
    ],
)
def test_top_log_odds_by_hand(logits, label, log_odds):
    labels, values = top_log_odds(torch.tensor([logits]))
    assert (labels.dtype, values.dtype) == (torch.int64, torch.float32)
    assert labels.tolist() == [label]
    assert values.tolist() == pytest.approx([log_odds], abs=1e-6)


@pytest.mark.parametrize('shape', [(5, 2), (3, 10), (4, 1000), (2, 300, 2, 3)])
@pytest.mark.parametrize('scale', [0.1, 3, 30])
def test_top_log_odds_equal_slow_reference(shape, scale):
    logits = scale * torch.randn(shape, generator=torch.Generator().manual_seed(4))
    label, log_odds = top_log_odds(logits)
    assert label.shape == log_odds.shape == (shape[0], *shape[2:])
    pixels = logits.movedim(1, -1).flatten(0, -2).tolist()
    for scores, own, value in zip(pixels, label.flatten().tolist(), log_odds.flatten().tolist(), strict=True):
        slow_label, slow_value = slow_log_odds(scores)
        assert own == slow_label
        assert value == pytest.approx(slow_value, rel=1e-5, abs=1e-4)


def test_class_above_255_keeps_its_index():
    logits = torch.zeros(2, 1000)
    logits[0, 255] = logits[1, 999] = 10
    label, log_odds = top_log_odds(logits)
    assert label.tolist() == [255, 999]
    assert log_odds.tolist() == pytest.approx([10 - math.log(999)] * 2)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_logits_have_float32_log_odds(dtype):
    logits = torch.tensor([[9.0] + [0.0] * 299, [0.0] * 299 + [8.0]], dtype=dtype)
    label, log_odds = top_log_odds(logits)
    assert (label.tolist(), log_odds.dtype) == ([0, 299], torch.float32)
    # in half precision log(299) = 5.7004 would be off by more than 1e-3
    assert log_odds.tolist() == pytest.approx([9 - math.log(299), 8 - math.log(299)], abs=1e-5)


def test_images_are_ranked_where_soft_max_is_exactly_one():
    logits = torch.zeros(300, 10)
    logits[:, 3] = torch.linspace(20, 400, 300)
    assert (logits.softmax(1).amax(1) == 1).all()
    label, log_odds = top_log_odds(logits)
    assert (label == 3).all()
    assert (log_odds.diff() > 0).all()


def test_log_odds_have_no_gradient():
    assert not top_log_odds(torch.randn(2, 3, requires_grad=True))[1].requires_grad


@pytest.mark.parametrize('shape', [(4, 1), (4, 0), (5,), (2, 1, 4, 4)])
def test_top_log_odds_refuse_fewer_than_two_classes(shape):
    with pytest.raises(ValueError, match=r'at least 2 classes; got shape ' + re.escape(str(list(shape)))):
        top_log_odds(torch.zeros(shape))


@pytest.mark.parametrize('scores', [[0, math.nan, 1], [math.inf, math.inf, 0], [-math.inf] * 3])
def test_top_log_odds_refuse_a_diverged_teacher(scores):
    with pytest.raises(ValueError, match='NaN log-odds'):
        top_log_odds(torch.tensor([[1.0, 0.0, 0.0], scores]))


@pytest.mark.parametrize('half', [False, True])
@pytest.mark.parametrize('shape', [(2, 3, 7, 11), (1, 3, 40), (1, 3, 0), (3, 3, 2, 2, 5)])
def test_an_image_in_parts_is_encoded_as_a_whole(monkeypatch, shape, half):
    logits = 9 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    whole = encode(logits, half)
    assert whole[0].shape == whole[1].shape == shape[:1] + shape[2:]
    for pixels in (1, 13, 10**6):
        monkeypatch.setattr('mmdmt.core.confidence.CACHED_PIXELS', pixels)
        assert all(torch.equal(*pair) for pair in zip(encode(logits, half), whole, strict=True))
