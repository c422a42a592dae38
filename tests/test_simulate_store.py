from tests import simulate_store


def test_each_step_is_measured(tmp_path):
    rows = simulate_store.simulate(tmp_path, 100)
    assert len(rows) == 13
    assert all(float(row[1]) >= 0 and int(row[2].replace(',', '')) >= 0 for row in rows)
    files = {row[0]: row[3] for row in rows}
    assert files['table: complete'] == '2'  # labels.csv, labels.json
    assert files['archives: complete'] == '4'  # one archive, histogram.npz, checksums.csv, labels.json
