_base_ = ['./efficientnet-lite0_camvid_1_20.py']
dmt = dict(split=dict(ratio=8))  # 45 labeled, 322 unlabeled images
