"""Evaluation by several processes: each embeds a part of the recordings, the first one scores."""

from mvector.config import Config
from mvector.data.trials import Trials
from mvector.embedder import SpeakerEmbedder
from mvector.embeddings import Embeddings, embed_utterances
from mvector.evaluation import Evaluation, evaluate_trials
from mvector.training.ranks import broadcast, copy_from_first, gather, is_first, rank, world_size


def evaluate_together(
    embedder: SpeakerEmbedder, config: Config, trials: Trials, description: str = "embedding"
) -> Evaluation:
    """`mvector.evaluation.evaluate_trials` of the first process's weights, shared out; the same answer on all."""
    if world_size() == 1:
        return evaluate_trials(embedder, config, trials, description)[0]
    copy_from_first(embedder.buffers())  # where batch norm is not synchronised, each process has its own statistics
    was_training = embedder.training
    embedder.eval()
    # Every so many-th one, because lists are often sorted by length.
    own = embed_utterances(embedder, config, trials.utterances[rank() :: world_size()], description)
    embedder.train(was_training)
    parts = gather((own.embeddings, own.duration_s, own.snr_db, own.magnitude, own.reasons))
    result = None
    if is_first():
        whole = Embeddings.empty(trials.utterances, own.embeddings.shape[1])
        for number, (rows, durations, ratios, magnitudes, reasons) in enumerate(parts):
            every = slice(number, None, len(parts))
            whole.embeddings[every], whole.duration_s[every] = rows, durations
            whole.snr_db[every], whole.magnitude[every] = ratios, magnitudes
            whole.reasons |= {number + len(parts) * row: reason for row, reason in reasons.items()}
        result = evaluate_trials(embedder, config, trials, description, whole)[0]
    answer = broadcast(result)
    assert answer is not None
    return answer
