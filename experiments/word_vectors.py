"""Which words stand near which? Skip-gram vectors of a text, their neighbours and analogies.

    python -m experiments.word_vectors --workdir=runs/word_vectors
    python -m experiments.word_vectors --workdir=runs/mine --text=FILE --words=king,queen

The vectors of word2vec (Mikolov et al. 2013): each word predicts the words around it by negative
sampling, and frequent words are left out by chance. They are judged by plurals, which any English
text has: word : words = other : ?
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from softmax_research import data, functional, study
from softmax_research.study.blocks import table_of


class Settings(NamedTuple):
  """Hold the study's settings.

  Attributes:
    text: a built-in text or the path of a file.
    dimensions: of the vectors.
    window: how many words before and after a word it predicts, at most.
    least: how often a word occurs at least.
    noise: how many draws of noise each pair of words counts against.
    subsample: words of a share above this are left out by chance; 1 leaves out none.
    steps: updates, each of a batch of 2048 pairs.
    rate: learning rate of Adam, which falls to 0.
    words: whose neighbours are shown; by default frequent ones of five letters and more.
    analogies: shown too, as a:b:c, which asks what is to c as b is to a.
    seeds: repetitions.
  """

  text: str = "pydoc"
  dimensions: int = 64
  window: int = 5
  least: int = 5
  noise: int = 5
  subsample: float = 1e-3
  steps: int = 1500
  rate: float = 0.005
  words: tuple[str, ...] = ()
  analogies: tuple[str, ...] = ()
  seeds: int = 3


_BATCH, _DRAWS = 2048, 256  # pairs of an update, and the draws of noise that they share


class Corpus(NamedTuple):
  """Hold a text's words by decreasing frequency, their counts and the text in their numbers."""

  words: list[str]
  counts: np.ndarray
  tokens: np.ndarray


def check(settings: Settings) -> None:
  least = dict.fromkeys(("dimensions", "window", "least", "noise", "steps", "seeds"), 1)
  study.check_numbers(settings, **least, subsample=(1e-15, 1), rate=(1e-9, 1))
  if wrong := [text for text in settings.analogies if text.count(":") != 2]:
    raise ValueError(f"Got --analogies={wrong[0]}; an analogy is three words, as a:b:c.")


def prepare(settings: Settings, cells: Sequence[dict[str, Any]]) -> Corpus:
  """Read the text and number the words that are frequent enough; the others are passed over."""
  tokens = [token.lower() for token in data.read_text(settings.text) if token.isalpha()]
  words, inverse, counts = np.unique(tokens, return_inverse=True, return_counts=True)
  order = np.argsort(-counts, kind="stable")
  order = order[counts[order] >= settings.least]
  number = np.full(len(words), -1)
  number[order] = np.arange(len(order))
  corpus = Corpus(words[order].tolist(), counts[order], number[inverse])
  asked = {*settings.words, *itertools.chain(*(text.split(":") for text in settings.analogies))}
  if wrong := sorted(asked - set(corpus.words)):
    raise ValueError(
      f"Got {', '.join(wrong)}, which --text={settings.text} does not have {settings.least} times; "
      "lower --least, or ask for other words."
    )
  if len(plurals(corpus)) < 2:  # An analogy is of two.
    raise ValueError(
      f"Got --text={settings.text}, in which fewer than two words and their plurals occur "
      f"{settings.least} times; give a longer English text, or a smaller --least."
    )
  corpus = corpus._replace(tokens=corpus.tokens[corpus.tokens >= 0])
  if not len(pairs(corpus, settings, seed=0)):
    raise ValueError(
      f"Got --subsample={settings.subsample:g}, which leaves no two words of --text="
      f"{settings.text} beside one another; give a larger one."
    )
  return corpus


def plurals(corpus: Corpus) -> list[tuple[int, int]]:
  """Return pairs of frequent words of four letters and more that differ by a final s."""
  number = {word: i for i, word in enumerate(corpus.words)}
  found = [(i, number.get(word + "s", -1)) for word, i in number.items() if len(word) > 3]
  return [(one, many) for one, many in found if many >= 0][:40]


def pairs(corpus: Corpus, settings: Settings, seed: int) -> np.ndarray:
  """Return pairs of a word and one in its window, `[N, 2]`.

  A word stays with probability sqrt(t / share), and its window is of any size up to the largest, so
  that near words count more.
  """
  rng = np.random.default_rng(seed)
  keep = np.sqrt(settings.subsample * corpus.counts.sum() / corpus.counts)
  tokens = corpus.tokens[rng.random(len(corpus.tokens)) < keep[corpus.tokens]]
  size, found = rng.integers(1, settings.window + 1, len(tokens)), []
  for distance in range(1, settings.window + 1):
    first, last = np.arange(len(tokens) - distance), np.arange(distance, len(tokens))
    for center, other in ((first, last), (last, first)):
      inside = size[center] >= distance
      found.append(np.stack([tokens[center[inside]], tokens[other[inside]]], axis=1))
  return np.concatenate(found).astype(np.int32)


def train(corpus: Corpus, settings: Settings, seed: int) -> np.ndarray:
  """Return the words' vectors, `[V, D]`, of unit length."""
  examples, key = jnp.asarray(pairs(corpus, settings, seed)), jax.random.key(seed)
  sampler = functional.weighted_sampler(corpus.counts**0.75, replacement=True)
  optimizer = optax.adam(optax.linear_schedule(settings.rate, 0.0, settings.steps))
  shape = len(corpus.words), settings.dimensions

  def step(state, key):
    params, opt_state = state
    batch_key, noise_key = jax.random.split(key)
    center, other = examples[jax.random.randint(batch_key, (_BATCH,), 0, len(examples))].T

    def loss(params):
      found = functional.negative_sampling_loss(
        params["words"][center],
        params["contexts"],
        other,
        key=noise_key,
        num_samples=_DRAWS,
        num_noise=settings.noise,
        sampler=sampler,
      )
      return jnp.mean(found)

    updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state)
    return (optax.apply_updates(params, updates), opt_state), None

  @jax.jit
  def run(key):
    start_key, key = jax.random.split(key)
    words = jax.random.normal(start_key, shape) / settings.dimensions
    params = {"words": words, "contexts": jnp.zeros(shape[::-1])}
    state = params, optimizer.init(params)
    return jax.lax.scan(step, state, jax.random.split(key, settings.steps))[0][0]["words"]

  vectors = np.asarray(run(key))
  return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def nearest(vectors: np.ndarray, query: np.ndarray, given: Sequence[int]) -> np.ndarray:
  """Return the five words nearest to a query, the given ones left out."""
  cosines = vectors @ query
  cosines[list(given)] = -np.inf
  return np.argsort(-cosines)[:5]


def complete(vectors: np.ndarray, a: int, b: int, c: int) -> np.ndarray:
  """Return the five words that are most likely to c as b is to a."""
  return nearest(vectors, vectors[b] - vectors[a] + vectors[c], (a, b, c))


def run(cell: dict[str, Any], context: study.Context) -> Iterator[study.Record]:
  corpus, settings = context.prepared, context.settings
  number = {word: i for i, word in enumerate(corpus.words)}
  shown = settings.words or [word for word in corpus.words if len(word) > 4][:12]
  asked = list(itertools.permutations(plurals(corpus), 2))
  for seed in context.seeds:
    vectors = train(corpus, settings, seed)
    near = {word: nearest(vectors, vectors[number[word]], [number[word]]) for word in shown}
    for text in settings.analogies:
      near[text] = complete(vectors, *(number[word] for word in text.split(":")))
    guesses = [complete(vectors, a, b, one) for (a, b), (one, _) in asked]
    right = [guess == many for guess, (_, (_, many)) in zip(guesses, asked, strict=True)]
    measured = {
      "near": {text: [corpus.words[i] for i in found] for text, found in near.items()},
      "num_words": len(corpus.words),
      "num_analogies": len(asked),
      "plural_accuracy": float(np.mean([hits[0] for hits in right])),
      "plural_top_5_accuracy": float(np.mean([hits.any() for hits in right])),
    }
    yield context.record(seed, measured=measured)


def report(records: Sequence[dict[str, Any]], settings: Settings) -> Iterator[study.Block]:
  records = [record for record in records if record["status"] == "finished"]
  first = records[0]["measured"]
  yield "# Words by their neighbours"
  yield (
    f"{first['num_words']:,} words of {study.escape(settings.text)} that occur {settings.least} "
    "times or more. Beside a word stand the nearest by cosine, beside a:b:c what is to c as b is "
    f"to a, the best first, of seed {records[0]['seed']}."
  )
  rows = [(text, {"nearest": ", ".join(near)}) for text, near in first["near"].items()]
  yield table_of(rows, "word", "near")
  yield (
    f"Of {first['num_analogies']:,} analogies of plurals, as word : words = other : ?, the first "
    "word that was found was right, or one of the first five:"
  )
  yield study.table(records, measure=("plural_accuracy", "plural_top_5_accuracy"), rows="vectors")


STUDY = study.Study(
  Settings,
  lambda settings: [{"vectors": "skip-gram"}],
  run,
  report,
  name="word_vectors",
  check=check,
  prepare=prepare,
)

if __name__ == "__main__":
  study.main(STUDY)
