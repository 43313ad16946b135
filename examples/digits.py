"""Teach a small neural network to read handwritten digits, and keep it in model.joblib.

    gpuyard run examples/digits.py --gpu nvidia-rtx-3090 --out model.joblib

The 1,797 pictures of 8 × 8 pixels come with scikit-learn: nothing is downloaded.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import joblib
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 40


def gpus() -> str:
    """What this machine says it has."""
    try:
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return f"CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', '')!r}, and no nvidia-smi"


def main() -> None:
    print(f"instance: {os.environ.get('GPUYARD_INSTANCE_NAME', 'this machine')}")
    print(gpus())

    pictures, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        pictures, labels, test_size=0.25, random_state=7, stratify=labels
    )
    print(f"{len(train_x)} pictures to learn from, {len(test_x)} kept aside")

    scale = StandardScaler().fit(train_x)
    network = MLPClassifier(hidden_layer_sizes=(256, 128), learning_rate_init=5e-4, batch_size=64, random_state=7)
    began = time.perf_counter()
    for epoch in range(1, EPOCHS + 1):
        network.partial_fit(scale.transform(train_x), train_y, classes=range(10))
        if epoch % 5 == 0 or epoch == EPOCHS:
            right = network.score(scale.transform(test_x), test_y)
            print(f"epoch {epoch:3d}/{EPOCHS}  loss {network.loss_:.4f}  accuracy {right:.4f}")
    print(f"trained in {time.perf_counter() - began:.1f} s")

    model = make_pipeline(scale, network)
    mistakes = confusion_matrix(test_y, model.predict(test_x))
    worst = max(((mistakes[a][b], a, b) for a in range(10) for b in range(10) if a != b), default=(0, 0, 0))
    print(f"accuracy {model.score(test_x, test_y):.4f}; most often a {worst[1]} was read as a {worst[2]}: {worst[0]}×")

    kept = Path("model.joblib")
    joblib.dump(model, kept, compress=3)
    print(f"wrote {kept}, {kept.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    # the matrices are small: more threads are hardly faster, and wait for each other where others work here, too
    with threadpool_limits(1):
        main()
