from tests import simulate_store


def test_each_step_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(simulate_store, 'LINKS', 30)
    rows = simulate_store.simulate(tmp_path, 100)
    assert len(rows) == 11
    assert all(float(row[1]) >= 0 and int(row[2].replace(',', '')) >= 0 for row in rows)
    files = {row[0]: row[3] for row in rows}
    assert files['table: complete'] == '2'  # labels.csv, labels.json
    assert files['maps: complete'] == '203'  # two an image, histogram.npz, checksums.csv, labels.json
    assert len({path.stat().st_ino for path in (tmp_path / 'maps/labels').iterdir()}) == 4
