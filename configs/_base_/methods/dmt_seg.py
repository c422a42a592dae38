# What DMT adds to a segmentor. A run makes stock models those of DMT by itself; our configs name type and loss, so that
# options can reach them, and stock tools refuse to predict with the weights of a model of other settings.
dynamic_loss = dict(type='DynamicMutualLoss', gamma1=5.0, gamma2=5.0)
