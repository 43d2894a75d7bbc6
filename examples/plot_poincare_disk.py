"""
Emotions on the Poincaré disk
=============================

:class:`~sklearn_ser.HyperbolicFusionClassifier` fuses representations on the Poincaré ball.
:class:`~sklearn_ser.inspection.PoincareDiskDisplay` shows the points of held-out speakers on a
disk. The voices are synthetic.
"""

# %%
# A fusion of two representations
# -------------------------------
#
# Two tables of log-mel statistics are fused, of which only the first contains the level. Two of
# eight speakers are held out.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import FeatureUnion

from sklearn_ser import HyperbolicFusionClassifier, LogMelSpectrogram
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.inspection import PoincareDiskDisplay
from sklearn_ser.metrics import unweighted_average_recall

corpus = make_emotional_speech(n_sentences=3, random_state=0)
y = corpus.target
union = FeatureUnion(
    [
        ("level", LogMelSpectrogram(n_mels=20, pooling="mean_std_delta", normalize=None)),
        ("shape", LogMelSpectrogram(n_mels=40, pooling="mean_std")),
    ]
).set_output(transform="pandas")
features = union.fit_transform(corpus.recordings)
is_test = np.isin(corpus.groups, ["speaker03", "speaker07"])
X_test, y_test = features[is_test], y[is_test]
fusion = HyperbolicFusionClassifier().fit(features[~is_test], y[~is_test])
predicted = fusion.predict(X_test)
print(f"recall of two held-out speakers: {unweighted_average_recall(y_test, predicted):.2f}")
print(f"by chance: {1 / len(fusion.classes_):.2f}")

# %%
# Regions and geodesics
# ---------------------
#
# The points are placed by multidimensional scaling of their hyperbolic distances; the boundary of
# the disk is infinitely far from all of them. The regions show the predicted emotions, the colours
# and markers of the points the true ones.

display = PoincareDiskDisplay.from_estimator(fusion, X_test, y_test, style="regions")
display.ax_.set_title("Level ⊕ shape, two speakers held out")
plt.show()

# %%
# Geodesics are the shortest paths of the ball. Here they lead from the midpoint of each emotion to
# its points.

display.plot(style="geodesics")
display.ax_.set_title("Midpoints of the emotions")
plt.show()

# %%
# The distance to the origin is no measure of confidence
# ------------------------------------------------------
#
# The area under the ROC curve measures how well a value separates correct from wrong predictions;
# chance is one half. The largest probability is the better measure.

measures = {
    "distance to the origin": fusion.distance_to_origin(X_test),
    "largest probability": fusion.predict_proba(X_test).max(axis=1),
}
for name, values in measures.items():
    print(f"{name}: area under the curve {roc_auc_score(predicted == y_test, values):.2f}")
