_base_ = ['../dmt/deeplabv2_voc_1_20.py']
# DMT-Flip: where the student is the more confident, it is trained on its own label.
model = dict(decode_head=dict(loss_decode=dict(variant='flip')))
