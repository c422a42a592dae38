import numpy as np
import pytest

from mmdmt.labels.maps import LabelMaps
from mmdmt.labels.selected_pixels import SelectedPixels


@pytest.mark.parametrize('archives', [False, True])
def test_selected_pixels_are_read_with_their_confidence(tmp_path, archives):
    """The threshold itself is kept; all others become 255, with their confidence beside them."""
    store = LabelMaps(tmp_path, archives=archives)
    code = np.array([[299, 300, 301, 65535, 0]], np.uint16)
    store.write('x', np.array([[0, 0, 0, 1, 1]], np.uint8), code)
    fields = SelectedPixels(store, 1, np.array([300, 65535], np.uint16)).fields(0, 'x')
    (pseudo_label,) = fields.values()
    assert list(fields) == ['pseudo_label']
    assert pseudo_label.label.dtype == np.uint8
    assert pseudo_label.label.tolist() == [[255, 0, 0, 1, 255]]
    assert pseudo_label.confidence.dtype == np.float32
    expected = 1 / (1 + np.exp(6 - code.astype(np.float64) / 65535 * 48))
    np.testing.assert_allclose(pseudo_label.confidence, expected, rtol=1e-5)
    assert pseudo_label.path == (f'{tmp_path / "archives/00000.tar"}: labels/x.png' if archives
                                 else str(store.label_path('x')))  # fmt: skip
