from mmengine.registry import DATASETS

from mmdmt.datasets import UnlabeledDataset


def few(image_folder, indices):
    dataset = image_folder('x', ['a', 'b', 'c', 'd'], pipeline=[dict(type='LoadImageFromFile')])
    return DATASETS.build(dict(type='SomeImages', dataset=dataset, indices=indices))


def test_images_in_the_given_order(image_folder):
    dataset = few(image_folder, [3, 1, 7])
    assert len(dataset) == 2  # the data set has no image 7
    assert [dataset.get_data_info(idx)['img_path'].rsplit('/')[-1] for idx in range(2)] == ['d.png', 'b.png']
    assert dataset[0]['img'].shape == (2, 3, 3)
    assert dataset.metainfo['classes'] == ('a', 'b')


def test_few_unlabeled_images_have_names_of_their_own(image_folder):
    dataset = UnlabeledDataset(few(image_folder, [3, 1]), pipeline=[])
    assert [dataset.name(idx) for idx in range(2)] == ['000000_d', '000001_b']


def test_pipeline_is_that_of_the_whole(image_folder):
    (transform,) = few(image_folder, [3]).pipeline.transforms
    assert type(transform).__name__ == 'LoadImageFromFile'
