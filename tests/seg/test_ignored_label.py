import pytest
from mmseg.registry import MODELS

from mmdmt.seg.ignored_label import check_ignored_label


@pytest.fixture
def build(backbone, fcn):
    def build(head=None, auxiliary=None, cascade=None):
        heads = dict(decode_head=fcn(**(head or {})))
        if cascade is not None:
            heads = dict(decode_head=[fcn(), fcn(**cascade)], num_stages=2)
        if auxiliary is not None:
            heads['auxiliary_head'] = [fcn(), fcn(**auxiliary)]
        kind = 'EncoderDecoder' if cascade is None else 'CascadeEncoderDecoder'
        return MODELS.build(dict(type=kind, backbone=backbone, **heads))

    return build


@pytest.mark.parametrize('heads', [{}, dict(auxiliary={}), dict(head=dict(ignore_index=255))])
def test_255(build, heads):
    check_ignored_label(build(**heads), 'dmt.models.a')


@pytest.mark.parametrize(
    ('heads', 'name'),
    [
        (dict(head=dict(ignore_index=0)), r'decode_head\.ignore_index=0.*; to leave out class 0, .*reduce_zero_label'),
        (dict(head=dict(ignore_index=254)), r'decode_head\.ignore_index=254.*pseudo labels$'),
        (dict(head=dict(ignore_index=-100)), r'decode_head\.ignore_index=-100'),
        (dict(auxiliary=dict(ignore_index=0)), r'auxiliary_head\.1\.ignore_index=0'),
    ],
    ids=['0', '254', '-100', 'auxiliary'],
)
def test_other_labels(build, heads, name):
    with pytest.raises(ValueError, match=rf'^dmt\.models\.a: {name}'):
        check_ignored_label(build(**heads), 'dmt.models.a')


@pytest.mark.parametrize('value', [0, 254])
def test_padding_that_would_be_learned(backbone, fcn, value):
    preprocessor = dict(type='SegDataPreProcessor', size=(8, 8), seg_pad_val=value)
    model = MODELS.build(
        dict(type='EncoderDecoder', backbone=backbone, decode_head=fcn(), data_preprocessor=preprocessor)
    )
    with pytest.raises(ValueError, match=rf'^dmt\.models\.a: data_preprocessor\.seg_pad_val={value}, so padding would'):
        check_ignored_label(model, 'dmt.models.a')
