"""Facts about NTU RGB+D 60 and 120 that its files do not contain.

Reference:
    NTU RGB+D, arXiv 1604.02808; NTU RGB+D 120, arXiv 1905.04757; the list of samples whose
    skeletons are missing or incomplete, published with the data set by ROSE Lab, NTU.
"""

from __future__ import annotations

NUM_CLASSES_60, LAST_SETUP_60, LAST_SETUP_120 = 60, 17, 32

# Performers of the cross-subject training part; the others are for the test.
TRAIN_SUBJECTS_60 = frozenset((1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34,
                               35, 38))
TRAIN_SUBJECTS_120 = TRAIN_SUBJECTS_60 | {
    45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86,
    89, 91, 92, 93, 94, 95, 97, 98, 100, 103}
TEST_CAMERA = 1  # cross-view: cameras 2 and 3 train
# Cross-setup: even setups train, odd ones test.

# Each performer of a setup performs 60 actions twice, in front of three cameras: 1 to 60 in the
# setups of NTU RGB+D 60, and 61 to 120 in the others.
NUM_CAMERAS, NUM_REPLICATIONS, NUM_ACTIONS = 3, 2, 60

# Samples to train and to test on, without those whose skeletons are missing. Those of 120 are the
# counts that github.com/rombaldivia/NestSAR (a87116b) compares the splits in PYSKL's annotations
# with; both protocols add up to 114,480 samples less the 535 missing ones.
OFFICIAL_COUNTS = {
    60: {"xsub": {"train": 40_091, "test": 16_487}, "xview": {"train": 37_646, "test": 18_932}},
    120: {"xsub": {"train": 63_026, "test": 50_919}, "xset": {"train": 54_468, "test": 59_477}},
}

# In the order of the action numbers: the first is A001.
_CLASS_NAMES = """
    drink water; eat meal/snack; brushing teeth; brushing hair; drop; pickup; throw; sitting down;
    standing up (from sitting position); clapping; reading; writing; tear up paper; wear jacket;
    take off jacket; wear a shoe; take off a shoe; wear on glasses; take off glasses;
    put on a hat/cap; take off a hat/cap; cheer up; hand waving; kicking something;
    reach into pocket; hopping (one foot jumping); jump up; make a phone call/answer phone;
    playing with phone/tablet; typing on a keyboard; pointing to something with finger;
    taking a selfie; check time (from watch); rub two hands together; nod head/bow; shake head;
    wipe face; salute; put the palms together; cross hands in front (say stop); sneeze/cough;
    staggering; falling; touch head (headache); touch chest (stomachache/heart pain);
    touch back (backache); touch neck (neckache); nausea or vomiting condition;
    use a fan (with hand or paper)/feeling warm; punching/slapping other person;
    kicking other person; pushing other person; pat on back of other person;
    point finger at the other person; hugging other person; giving something to other person;
    touch other person's pocket; handshaking; walking towards each other;
    walking apart from each other; put on headphone; take off headphone; shoot at the basket;
    bounce ball; tennis bat swing; juggling table tennis balls; hush (quiet); flick hair; thumb up;
    thumb down; make ok sign; make victory sign; staple book; counting money; cutting nails;
    cutting paper (using scissors); snapping fingers; open bottle; sniff (smell); squat down;
    toss a coin; fold paper; ball up paper; play magic cube; apply cream on face;
    apply cream on hand back; put on bag; take off bag; put something into a bag;
    take something out of a bag; open a box; move heavy objects; shake fist; throw up cap/hat;
    hands up (both hands); cross arms; arm circles; arm swings; running on the spot;
    butt kicks (kick backward); cross toe touch; side kick; yawn; stretch oneself; blow nose;
    hit other person with something; wield knife towards other person;
    knock over other person (hit with body); grab other person's stuff;
    shoot at other person with a gun; step on foot; high-five; cheers and drink;
    carry something with other person; take a photo of other person; follow other person;
    whisper in other person's ear; exchange things with other person; support somebody with hand;
    finger-guessing game (playing rock-paper-scissors)
"""
CLASS_NAMES = tuple(" ".join(name.split()) for name in _CLASS_NAMES.split(";"))

# Setup -> samples without usable skeletons, each as camera.performer.replication.action.
_MISSING = {
    1: "2.5.2.8 2.6.1.8 3.2.1.55 3.2.2.12 3.5.2.4 3.5.2.5 3.5.2.6 3.6.2.8",
    2: "2.11.2.30 3.8.1.20 3.10.2.10 3.11.2.7 3.11.2.11 3.14.2.7",
    3: "1.19.1.55 2.2.2.55 2.18.2.55 3.2.1.55 3.16.1.55 3.18.2.24",
    4: "2.3.1.13 2.8.1.9 2.20.1.3 2.20.1.4 2.20.1.12 2.20.1.20 2.20.1.21 2.20.1.36",
    5: (
        "2.4.1.1 2.4.1.3 2.10.1.16 2.10.1.17 2.10.1.48 2.10.1.49 2.16.1.9 2.16.1.10 2.18.1.3 "
        "2.18.1.28 2.18.1.29 3.16.2.9 3.18.2.13 3.21.2.57"
    ),
    6: (
        "1.1.2.55 2.7.1.5 2.7.1.6 2.16.1.43 2.16.1.51 2.16.1.52 2.22.1.12 2.23.1.20 2.23.1.21 "
        "2.23.1.22 2.23.1.23 2.24.1.18 2.24.1.19 3.1.2.13 3.7.2.9 3.7.2.10 3.7.2.25 3.16.1.60 "
        "3.17.1.55 3.17.2.13 3.17.2.14 3.17.2.15 3.22.2.13"
    ),
    7: (
        "1.18.2.50 1.25.2.51 1.28.1.50 1.28.1.51 1.28.1.52 2.8.2.8 2.15.2.55 2.26.1.8 2.26.1.9 "
        "2.26.1.10 2.26.1.11 2.26.1.12 2.26.1.50 2.27.1.11 2.27.1.13 2.28.2.55 3.7.1.2 3.7.1.4 "
        "3.19.1.60 3.27.2.1 3.27.2.2 3.27.2.3 3.27.2.4 3.27.2.5 3.27.2.6 3.27.2.7 3.27.2.8 "
        "3.27.2.9 3.27.2.10 3.27.2.11 3.27.2.12 3.27.2.13"
    ),
    8: (
        "2.1.1.9 2.1.1.10 2.1.1.14 2.1.1.15 2.1.1.16 2.1.1.18 2.1.1.19 2.8.2.59 2.25.1.60 "
        "2.29.1.4 2.31.1.5 2.31.1.6 2.32.1.18 2.34.1.18 2.34.1.19 2.35.1.59 2.35.2.2 2.35.2.5 "
        "3.7.1.9 3.7.1.16 3.7.1.17 3.7.1.18 3.7.1.19 3.7.1.20 3.7.1.21 3.7.1.22 3.7.1.23 3.7.1.25 "
        "3.7.1.26 3.7.1.28 3.7.1.29 3.7.2.3 3.8.2.50 3.25.2.2 3.25.2.11 3.25.2.12 3.25.2.16 "
        "3.25.2.20 3.25.2.22 3.25.2.23 3.25.2.30 3.25.2.31 3.25.2.32 3.25.2.33 3.25.2.49 "
        "3.25.2.60 3.31.1.1 3.31.2.4 3.31.2.14 3.31.2.15 3.31.2.16 3.31.2.17 3.32.2.13 3.33.2.1 "
        "3.33.2.11 3.33.2.12 3.34.2.1 3.34.2.12 3.34.2.22 3.34.2.23 3.34.2.24 3.34.2.44 3.34.2.45 "
        "3.35.2.16 3.35.2.17 3.35.2.18 3.35.2.19 3.35.2.20 3.35.2.21"
    ),
    9: (
        "2.7.1.1 2.7.1.3 2.7.1.14 2.8.1.14 2.15.2.50 2.16.1.2 2.17.1.28 2.17.1.29 3.17.2.30 "
        "3.25.2.54"
    ),
    10: (
        "1.7.2.20 2.16.2.55 2.17.1.5 2.17.1.18 2.17.1.19 2.19.1.1 2.25.1.12 3.7.2.43 3.8.2.3 "
        "3.16.1.55 3.17.2.55"
    ),
    11: (
        "1.2.1.8 1.18.2.50 2.8.2.59 2.16.2.55 2.17.1.20 2.17.1.21 2.18.2.55 2.27.1.9 2.27.1.10 "
        "2.27.1.37 3.1.1.55 3.2.1.55 3.8.2.12 3.15.1.55 3.16.1.55 3.19.1.55 3.25.1.55 3.28.2.55"
    ),
    12: (
        "1.19.1.60 1.19.2.60 2.15.1.55 2.17.2.12 2.25.1.60 3.8.1.57 3.15.1.55 3.15.2.55 3.16.1.55 "
        "3.17.2.55 3.18.1.55 3.18.1.57 3.19.2.11 3.19.2.12 3.25.1.55 3.27.1.55 3.27.2.9 3.28.1.35 "
        "3.28.2.55"
    ),
    13: (
        "1.15.1.54 1.17.2.54 1.18.1.16 1.28.1.40 2.15.1.54 2.17.2.54 2.28.1.40 3.8.2.59 3.15.1.54 "
        "3.17.2.54 3.25.2.22 3.27.1.55 3.28.1.40"
    ),
    14: (
        "1.27.2.40 2.15.1.3 2.19.1.29 2.25.2.59 2.27.2.40 2.39.1.50 3.7.2.59 3.15.2.55 3.19.2.55 "
        "3.25.1.48 3.27.2.40"
    ),
    15: (
        "1.8.2.40 1.16.1.55 1.17.1.55 1.17.2.55 2.7.1.59 2.8.1.3 2.8.1.4 2.8.2.40 2.15.1.2 "
        "2.16.1.1 2.16.2.55 3.8.2.7 3.8.2.11 3.8.2.12 3.8.2.28 3.8.2.40 3.25.2.12 3.25.2.17 "
        "3.25.2.20 3.25.2.21 3.25.2.30 3.25.2.33 3.25.2.34 3.25.2.36 3.25.2.37 3.25.2.44"
    ),
    16: (
        "1.19.2.40 1.25.1.11 1.25.1.12 1.25.1.60 1.40.1.55 1.40.2.55 2.8.1.11 2.19.2.40 2.25.2.12 "
        "3.8.1.11 3.8.2.2 3.8.2.3 3.8.2.4 3.8.2.6 3.8.2.9 3.19.2.40 3.39.2.16"
    ),
    17: (
        "1.16.2.31 2.7.1.13 2.8.1.9 2.15.1.42 2.16.2.31 2.16.2.55 3.7.2.13 3.8.1.59 3.16.2.31 "
        "3.17.1.55 3.20.1.59"
    ),
    19: (
        "1.46.1.75 2.42.1.94 2.42.1.95 2.42.1.96 2.42.1.97 2.42.1.98 2.42.1.99 2.42.1.100 "
        "2.42.1.101 2.42.1.102 2.49.2.74 2.49.2.79 2.51.1.61 3.46.1.61 3.46.2.61 3.46.2.62"
    ),
    20: "2.41.1.63 2.41.1.64 2.44.1.63 2.44.1.64 2.44.1.66 2.44.1.84 2.54.1.81",
    21: (
        "1.59.1.108 2.55.1.65 2.55.1.92 2.55.1.93 2.57.1.64 2.58.1.63 2.58.1.64 2.59.1.74 "
        "2.59.1.75 2.59.1.76 2.59.1.77 2.59.1.78 2.59.1.79 3.57.2.78 3.57.2.79 3.57.2.94"
    ),
    22: (
        "2.61.1.113 3.61.2.61 3.61.2.62 3.63.2.61 3.63.2.62 3.63.2.63 3.63.2.64 3.63.2.78 "
        "3.64.2.61 3.64.2.62 3.65.2.61 3.65.2.62 3.65.2.119 3.67.2.64"
    ),
    23: "2.55.1.114 2.55.2.92 2.59.1.75 2.63.1.75 3.55.2.93 3.55.2.94 3.61.2.61 3.64.1.92",
    24: (
        "1.63.1.109 2.62.2.74 2.67.1.100 2.67.1.101 2.67.1.102 2.67.1.103 3.62.2.74 3.63.2.61 "
        "3.63.2.62"
    ),
    25: "1.55.2.119 3.56.2.119 3.59.2.115",
    26: "2.44.1.61 2.44.1.62 2.70.1.92 3.69.2.75 3.74.2.61 3.74.2.62 3.75.1.117 3.75.1.118",
    27: (
        "1.82.1.63 2.44.2.92 2.79.1.61 2.79.1.62 2.79.1.63 2.79.1.64 2.82.1.92 2.84.1.61 "
        "2.84.1.62 2.86.1.61 3.41.2.87 3.80.2.61 3.82.2.61 3.82.2.62 3.86.2.61 3.86.2.62"
    ),
    28: (
        "1.87.1.61 2.41.1.91 2.87.1.61 3.42.2.64 3.46.2.63 3.46.2.66 3.46.2.67 3.46.2.68 "
        "3.46.2.69 3.46.2.70 3.46.2.71 3.46.2.72 3.46.2.74 3.46.2.75 3.46.2.77 3.46.2.81 "
        "3.46.2.82 3.46.2.83 3.46.2.84 3.48.2.61 3.48.2.62 3.48.2.73 3.73.2.73 3.87.1.61 "
        "3.87.2.61 3.87.2.62"
    ),
    29: (
        "1.43.2.92 1.44.2.92 1.48.1.73 1.89.1.63 2.41.1.74 2.41.1.84 2.44.1.91 2.48.1.75 "
        "2.48.1.81 2.74.1.81 2.74.1.95 2.74.1.96 2.80.1.91 2.88.1.66 2.89.1.65 2.90.1.67 3.8.2.65 "
        "3.8.2.67 3.41.1.89 3.43.1.80 3.43.1.92 3.43.1.105 3.43.2.85 3.43.2.86 3.44.2.106 "
        "3.48.1.65 3.48.2.73 3.48.2.74 3.48.2.75 3.48.2.76 3.48.2.92 3.48.2.94 3.51.2.73 "
        "3.51.2.74 3.51.2.75 3.51.2.76 3.51.2.77 3.51.2.78 3.51.2.79 3.51.2.80 3.51.2.81 "
        "3.51.2.82 3.51.2.83 3.51.2.84 3.51.2.85 3.51.2.86 3.51.2.110 3.67.1.98 3.74.2.110 "
        "3.80.2.66 3.88.2.78 3.89.1.75 3.89.2.61 3.89.2.62 3.89.2.63 3.90.2.92 3.90.2.95"
    ),
    30: (
        "2.91.2.91 2.91.2.92 2.91.2.93 2.91.2.94 2.91.2.95 2.91.2.96 2.91.2.97 2.91.2.98 "
        "2.91.2.99 2.91.2.100 2.91.2.101 2.91.2.102 2.91.2.103 2.91.2.104 2.91.2.105 3.44.2.65 "
        "3.44.2.81 3.44.2.84"
    ),
    31: (
        "2.42.1.111 2.51.1.61 2.51.1.62 2.67.1.67 2.67.1.68 2.67.1.69 2.67.1.70 2.67.1.71 "
        "2.67.1.72 2.82.1.75 2.82.2.117 2.97.1.61 2.97.1.62 3.43.2.74 3.43.2.75 3.44.2.94 "
        "3.82.2.67 3.82.2.68 3.82.2.69 3.82.2.70 3.82.2.71 3.82.2.72 3.82.2.73 3.82.2.75 "
        "3.82.2.76 3.82.2.77 3.82.2.84 3.82.2.85 3.82.2.86"
    ),
    32: "2.67.1.92 3.67.2.66 3.67.2.67 3.67.2.75 3.67.2.76 3.67.2.77",
}


def _sample_names() -> frozenset[str]:
    return frozenset(
        "S{:03}C{:03}P{:03}R{:03}A{:03}".format(setup, *map(int, sample.split(".")))
        for setup, samples in _MISSING.items() for sample in samples.split())


MISSING_SAMPLES = _sample_names()
