_base_ = ['../dmt/deeplabv2_voc_1_20.py']
# DMT-Naive: p_B ** gamma as the weight of every pseudo label, whoever is the more confident.
model = dict(decode_head=dict(loss_decode=dict(variant='naive')))
