"""Say which GPUs this instance has."""

import os
import subprocess
import sys

print(f"hello from {os.environ.get('GPUYARD_INSTANCE_NAME', 'somewhere without a yard')}")
print(f"GPUs: {os.environ.get('GPUYARD_GPUS') or 'none'}")
try:
    print(subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout.strip())
except (OSError, subprocess.CalledProcessError):
    print("there is no nvidia-smi here")
print(f"arguments: {' '.join(sys.argv[1:]) or 'none'}")
