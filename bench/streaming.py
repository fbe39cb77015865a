"""Whether a training stream keeps its memory: ten minutes of shuffled batches, epoch after epoch, in one process.

A store of 24 × 200 frames with two cameras of 256×256, batches of 32 with chunks of 16 actions, a buffer of 64 MiB.
What the process holds (resident, taken at every tenth batch) is averaged over each minute. The first minute fills the
buffers and the caches; target: the last is at most 5 % above the second.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench import reading
from bench.results import record
from dataengine.store import Store
from dataengine.store.stream import FrameStream

EPISODES, BUFFER, MINUTES = 24, 64 << 20, 10
GROWTH = 1.05


def resident_mib() -> float:
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    minutes = int(sys.argv[1]) if len(sys.argv) > 1 else MINUTES
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / "store", fps=reading.FPS, features=reading.FEATURES)
        with store.writer() as writer:
            for number in range(EPISODES):
                writer.append(reading.episode(number))
        before, begin = resident_mib(), time.perf_counter()
        stream = FrameStream(store, reading.CHUNK, batch=reading.BATCH, buffer_bytes=BUFFER)
        held: list[list[float]] = [[] for _ in range(minutes)]
        first, samples, peak = 0.0, 0, 0
        for number, batch in enumerate(itertools.chain.from_iterable(itertools.repeat(stream))):
            spent = time.perf_counter() - begin
            first = first or spent
            if spent >= 60 * minutes:
                break
            samples += len(batch["index"])
            peak = max(peak, stream.peak_bytes)
            if number % 10 == 0:
                held[int(spent // 60)].append(resident_mib())
    means = [round(statistics.mean(minute), 1) for minute in held]
    figures = {
        "minutes": minutes,
        "samples_per_second": round(samples / (60 * minutes)),
        "first_batch_s": round(first, 3),
        "resident_before_mib": round(before, 1),
        "resident_mib_by_minute": means,
        "pictures_in_memory_peak_mib": round(peak / 2**20, 1),
        "buffer_mib": BUFFER >> 20,
        "last_of_second": round(means[-1] / means[1], 3),
        "target": GROWTH,
    }
    record("streaming", figures, met=figures["last_of_second"] <= GROWTH)


if __name__ == "__main__":
    main()
