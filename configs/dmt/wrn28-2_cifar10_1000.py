_base_ = ['./wrn28-2_cifar10_4000.py']
dmt = dict(
    split=dict(num_labeled=1000),
    supervised=dict(epochs=2120),
    semi=dict(labeled_per_batch=16, unlabeled_per_batch=496))
