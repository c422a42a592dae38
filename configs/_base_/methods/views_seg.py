# Views of unlabeled images for the methods of mmdmt.methods: the last transform of their pipeline, after the geometry.
of_labels = ('LoadAnnotations', 'PackSegInputs')  # transforms that these images do not have
pack = dict(type='PackSegInputs')
one_view = dict(type='Views', pack=pack, weak=[])
weak_strong = dict(one_view, strong=[dict(type='StrongColor')])
weak_two_strong = dict(weak_strong, strong_again=[dict(type='StrongColor')])
teacher_student = dict(
    type='Views',
    pack=pack,
    teacher_view=[],
    student_view=[dict(type='StrongColor', jitter=(0.4, 0.4, 0.4, 0.1), blur_prob=0.0)])
