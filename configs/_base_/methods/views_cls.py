# What the views of a classification method share. Each view has its own geometry: predictions are those of whole images.
views = dict(type='Views', same_geometry=False, pack=dict(type='PackDMTInputs'))
