"""A population of synthetic faces: who, how many pictures, and where they are kept."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import islice
from math import pi
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from experiments.data.crop_store import SHARD, build_store, fingerprint
from experiments.data.crops import FaceCrops, Shard
from experiments.data.synthetic.identity import draw_identity
from experiments.data.synthetic.render import render_image
from experiments.data.synthetic.shot import draw_shot

RENDERER = 1
"""Version of the pictures: raise it whenever the same settings give other pixels."""

_BATCH = 16  # pictures sent to a worker at once
_WORTH_A_POOL = 256  # pictures; starting a worker takes as long as rendering half of them

Picture = tuple[NDArray[np.uint8], NDArray[np.float32], tuple[float, float, float]]


@dataclass(frozen=True)
class RenderedFaces:
    """Pictures of synthetic people.

    Attributes
    ----------
    images : ndarray of uint8, shape (n, S, S, 3)
        sRGB values.
    landmarks : ndarray of float32, shape (n, 68, 2)
        iBUG points as (x, y), those hidden by the head included [px].
    person, shot : ndarray of int64, shape (n,)
        Who, and which picture of them.
    yaw, pitch, roll : ndarray of float32, shape (n,)
        Rotation of the head: nose to the viewer's right, nose up, and clockwise [rad].
    """

    images: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    person: NDArray[np.int64]
    shot: NDArray[np.int64]
    yaw: NDArray[np.float32]
    pitch: NDArray[np.float32]
    roll: NDArray[np.float32]


@dataclass(frozen=True)
class SyntheticFaces:
    """Rendered people who do not exist, with exact landmarks.

    Picture `s` of person `p` depends on the settings and on (seed, p, s) alone: not on how many
    people there are, nor on what is rendered with it.

    Parameters
    ----------
    people, images_per_person : int
        Size of the population, and pictures of each person.
    size : int
        Side of the pictures, 64 to 256 [px].
    seed : int
        Chooses the population.
    context : float, default 1.7
        Side of the pictures in face widths, by the fit of the landmarks to the mean shape.
    max_yaw, max_pitch, max_roll : float
        Bounds of the head's rotation; the standard deviation is half of it [rad].
    jitter : float, default 0.03
        Standard deviation of the face's offset from the centre [face widths].
    workers : int, default 2
        Processes that render; few pictures are rendered without any, 1 never starts one. Programs
        that start some need the usual ``if __name__ == "__main__"``.

    Raises
    ------
    ValueError
        A setting is out of range.
    """

    people: int
    images_per_person: int
    size: int
    seed: int
    context: float = 1.7
    max_yaw: float = 40 / 180 * pi
    max_pitch: float = 20 / 180 * pi
    max_roll: float = 20 / 180 * pi
    jitter: float = 0.03
    workers: int = 2

    def __post_init__(self) -> None:
        for name in ("people", "images_per_person", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}, expected at least 1")
        if not 64 <= self.size <= 256:
            raise ValueError(f"size = {self.size} px, expected 64 to 256 px")
        if self.seed < 0:
            raise ValueError(f"seed = {self.seed}, expected a whole number from 0")
        if not 1.0 <= self.context <= 4.0:
            raise ValueError(f"context = {self.context:g} face widths, expected 1 to 4")
        for name, limit in (("max_yaw", 1.2), ("max_pitch", 0.8), ("max_roll", pi)):
            if not 0 <= getattr(self, name) <= limit:
                raise ValueError(
                    f"{name} = {getattr(self, name):g} rad, expected 0 to {limit:g} rad; "
                    "the model has no back of the head"
                )
        if not 0 <= self.jitter <= 0.3:
            raise ValueError(f"jitter = {self.jitter:g} face widths, expected 0 to 0.3")

    def render(self, person: NDArray[np.int64], shot: NDArray[np.int64]) -> RenderedFaces:
        """Render chosen pictures.

        Parameters
        ----------
        person, shot : ndarray of int, shape (n,)
            Numbers from 0; they may exceed the size of the population.
        """
        person, shot = np.asarray(person, np.int64), np.asarray(shot, np.int64)
        if person.ndim != 1 or person.shape != shot.shape:
            raise ValueError(
                f"person is {person.shape} and shot is {shot.shape}, expected the same (n,)"
            )
        if person.size and min(person.min(), shot.min()) < 0:
            raise ValueError("person and shot must be numbers from 0")
        pictures = list(
            self._pictures(zip(person.tolist(), shot.tolist(), strict=True), person.size)
        )
        images = [picture[0] for picture in pictures]
        pose = np.array([picture[2] for picture in pictures], np.float32).reshape(-1, 3)
        return RenderedFaces(
            images=np.array(images, np.uint8).reshape(-1, self.size, self.size, 3),
            landmarks=np.array([p[1] for p in pictures], np.float32).reshape(-1, 68, 2),
            person=person,
            shot=shot,
            yaw=pose[:, 0],
            pitch=pose[:, 1],
            roll=pose[:, 2],
        )

    def prepare(self, cache: Path, progress: bool = True) -> FaceCrops:
        """Return all pictures, rendered once and then kept below the folder `cache`.

        An interrupted run goes on where it stopped.

        Parameters
        ----------
        cache : Path
            Folder for prepared data; the pictures get a folder of their own in it.
        progress : bool, default True
            Show a bar with the rate.
        """
        settings = {k: v for k, v in asdict(self).items() if k != "workers"}
        key = fingerprint({"reader": "synthetic", "renderer": RENDERER, **settings})
        total = self.people * self.images_per_person
        return build_store(
            Path(cache) / f"synthetic-{key}",
            partial(self._shards, progress=progress),
            n_shards=-(-total // SHARD),
            key=key,
            size=self.size,
            context=self.context,
            source={"reader": "synthetic", "renderer": RENDERER, **settings},
            expected_faces=total,
        )

    def _shards(self, first: int, *, progress: bool) -> Iterator[Shard]:
        """Render shard number `first` and all later ones."""
        total, each = self.people * self.images_per_person, self.images_per_person
        start = first * SHARD
        wanted = ((i // each, i % each) for i in range(start, total))
        bar = tqdm(total=total, initial=start, unit="face", desc="faces", disable=not progress)
        with bar:
            pictures = self._pictures(wanted, total - start)
            for begin in range(start, total, SHARD):
                part = []
                for picture in islice(pictures, SHARD):
                    part.append(picture)
                    bar.update()
                numbers = [divmod(i, each) for i in range(begin, begin + len(part))]
                pose = np.array([picture[2] for picture in part], np.float32)
                yield Shard(
                    images=np.stack([picture[0] for picture in part]),
                    landmarks=np.stack([picture[1] for picture in part]),
                    files=[f"synthetic-{p:06d}/{s:04d}" for p, s in numbers],
                    people=[f"synthetic-{p:06d}" for p, _ in numbers],
                    attributes={"yaw": pose[:, 0], "pitch": pose[:, 1], "roll": pose[:, 2]},
                )

    def _pictures(self, wanted: Iterable[tuple[int, int]], count: int) -> Iterator[Picture]:
        """Render `count` pairs (person, shot) in order, many of them in worker processes."""
        if self.workers == 1 or count < _WORTH_A_POOL:
            for person, shot in wanted:
                yield _picture(self, person, shot)
            return
        pairs = iter(wanted)
        pool = ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"))
        queue: deque[Future[list[Picture]]] = deque()
        try:
            while batch := list(islice(pairs, _BATCH)):
                queue.append(pool.submit(_batch, self, batch))
                if len(queue) > 3 * self.workers:
                    yield from queue.popleft().result()
            while queue:
                yield from queue.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


_identity = lru_cache(maxsize=64)(draw_identity)


def _batch(faces: SyntheticFaces, pairs: list[tuple[int, int]]) -> list[Picture]:
    """Render pairs (person, shot) in a worker process."""
    return [_picture(faces, person, shot) for person, shot in pairs]


def _picture(faces: SyntheticFaces, person: int, number: int) -> Picture:
    shot = draw_shot(
        faces.seed,
        person,
        number,
        max_yaw=faces.max_yaw,
        max_pitch=faces.max_pitch,
        max_roll=faces.max_roll,
        jitter=faces.jitter,
    )
    identity = _identity(faces.seed, person)
    image, landmarks = render_image(identity, shot, faces.size, faces.context)
    return image, landmarks, (shot.pose.yaw, shot.pose.pitch, shot.pose.roll)
