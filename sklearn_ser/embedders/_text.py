"""Layers of text encoders as a scikit-learn transformer."""

from numbers import Integral

from sklearn.base import BaseEstimator, TransformerMixin

from sklearn_ser._sklearn import Interval, StrOptions, check_feature_names_in, fit_context
from sklearn_ser.store import as_store

from ._base import name_columns, refuse_data_frame
from ._pretrained import (
    LAYER_CONSTRAINTS,
    PRECISION_CONSTRAINTS,
    PRETRAINED_CONSTRAINTS,
    check_layers_given,
    choose_layers,
    rows_of_network,
)
from ._text_embedding import TOKEN_POOLINGS, TokenPooler, embed_transcripts
from ._transcripts import as_transcripts, find_problems, tell_problems


class TextEmbedder(TransformerMixin, BaseEstimator):
    """Layers of a frozen text encoder, pooled over tokens.

    Each transcript becomes one row for each layer asked for: the mean of its tokens' hidden
    states, their maximum, or the state of the first token. Nothing is learned, so `transform`
    needs no `fit`.

    Parameters
    ----------
    model : str or path, default="distilbert/distilbert-base-uncased"
        A hub id, or a folder in which there are ``config.json``, the weights and the tokenizer.
        Any encoder that transformers knows as one trained on masked tokens: BERT, DistilBERT,
        RoBERTa, XLM-RoBERTa, DeBERTa, MPNet, ALBERT, ELECTRA, ModernBERT, sentence-transformers
        upon these, and so on. Those known for long may be called without their owner, such as
        "bert-base-uncased".
    revision : str, default=None
        Branch, tag or commit of a model on the hub. None is its main branch, as it was when it
        was first downloaded.
    layers : {"last", "all"}, int or list of int, default="last"
        Hidden states to return, counted as transformers does: 0 is the input of the first block,
        1 the output of the first block, and so on; negative numbers count from the last.
        BERT, DistilBERT, RoBERTa, XLM-RoBERTa and CamemBERT stop at the deepest layer asked for.
    flatten : bool, default=False
        With several layers, whether they lie side by side in one row, the first layer first, or
        have an axis of their own.
    pooling : {"mean", "max", "cls"}, default="mean"
        What is kept of each layer: the mean or the maximum over all tokens of the transcript,
        those included that the tokenizer adds, or the first token, which is ``[CLS]`` in BERT.
    max_length : int, default=None
        Most tokens of a transcript, those included that the tokenizer adds. What follows is cut
        off, and one warning tells of which transcripts. None is the model's own limit.
    batch_size : int, default=32
        Most transcripts that pass through the network together. A batch is also limited to 64
        tokens for each of them, whatever their lengths. Results don't depend on it.
    device : str, default="auto"
        Where the network runs: "cpu", "cuda", "cuda:1" and so on; "auto" is a CUDA GPU where
        there is one, else the CPU.
    dtype : {"float32", "bfloat16", "float16"}, default="float32"
        Precision of weights and arithmetic. Statistics over tokens and the output are float32.
    memory : str, path, `EmbeddingStore` or `joblib.Memory`, default=None
        Folder where embeddings are kept, by the tokens of the transcript: each passes through
        the network once, whatever the fold, the candidate, the process or the day. All layers
        down to the deepest are kept, so that another choice of `layers` costs nothing.
    on_error : {"raise", "nan"}, default="raise"
        Whether a missing value (None, NaN), or what else is no text, raises an error, or gives a
        row of NaN and one warning that lists all of them.
    local_files_only : bool, default=False
        Whether to look for a hub's model on this machine alone.
    verbose : int, default=0
        1 shows a progress bar in transcripts.

    See Also
    --------
    WavLMEmbedder : The same for WavLM, from recordings.
    LayerSelector : Choose or combine layers inside cross-validation.
    EmbeddingStore : Where `memory` keeps embeddings, with a limit of its size.

    Notes
    -----
    **Exact batches.** A transcript's embedding is the same alone, in any batch and in any order,
    and the one that transformers' own tokenizer and network give for it by itself: only
    transcripts with equally many tokens share a batch, so that nothing is ever padded. In float32
    the difference is below 1e-5 of the embedding's norm for each layer. This needs no mask, so
    that it holds for networks that have none (FNet) or count positions by their padding (RoBERTa)
    as well.

    Equal transcripts pass once, as do those that the tokenizer makes equal, such as "Yes" and
    "yes" for an uncased model. An empty transcript, or one of white space, has the embedding of
    the tokens that the tokenizer adds, such as ``[CLS] [SEP]``.

    Decoders such as GPT-2 are refused, since their first tokens know nothing of those that
    follow, as are networks of an encoder and a decoder such as T5 and BART.

    Weights are loaded when the first transcript passes through, once per process: clones share
    them, and pickles carry none. Missing or left-over weights raise an error, but for those of a
    pooler or of heads upon the network, which no hidden state depends on. A folder without a
    tokenizer raises an error; transformers makes up an empty one.

    References
    ----------
    J. Devlin, M.-W. Chang, K. Lee, K. Toutanova, "BERT: Pre-training of Deep Bidirectional
    Transformers for Language Understanding", NAACL 2019. arXiv 1810.04805.

    V. Sanh, L. Debut, J. Chaumond, T. Wolf, "DistilBERT, a distilled version of BERT: smaller,
    faster, cheaper and lighter", 2019. arXiv 1910.01108.

    D. de Oliveira, N. R. Prabhu, T. Gerkmann, "Leveraging Semantic Information for Efficient
    Self-Supervised Emotion Recognition with Audio-Textual Distilled Models", Interspeech 2023.
    arXiv 2305.19184.

    Examples
    --------
    A small network of the same make, with random weights, saved as the hub's models are:

    >>> import tempfile
    >>> from sklearn_ser import TextEmbedder
    >>> from transformers import BertTokenizer, DistilBertConfig, DistilBertModel
    >>> folder = tempfile.mkdtemp()
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "i", "am", "so", "happy", "sad"]
    >>> tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
    >>> _ = tokenizer.save_pretrained(folder)
    >>> small = DistilBertConfig(vocab_size=10, dim=24, n_layers=3, n_heads=2, hidden_dim=32)
    >>> DistilBertModel(small).save_pretrained(folder)
    >>> transcripts = ["I am so happy", "I am sad", ""]
    >>> TextEmbedder(folder).fit_transform(transcripts).shape
    (3, 24)
    >>> TextEmbedder(folder, layers="all").fit_transform(transcripts).shape
    (3, 4, 24)
    >>> embedder = TextEmbedder(folder, layers=[1, 2], flatten=True)
    >>> embedder.get_feature_names_out()[[0, -1]]
    array(['distilbert_layer01_dim0000', 'distilbert_layer02_dim0023'], dtype=object)
    """

    _parameter_constraints: dict = {
        **PRETRAINED_CONSTRAINTS,
        **PRECISION_CONSTRAINTS,
        **LAYER_CONSTRAINTS,
        "pooling": [StrOptions(set(TOKEN_POOLINGS))],
        "max_length": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        model="distilbert/distilbert-base-uncased",
        *,
        revision=None,
        layers="last",
        flatten=False,
        pooling="mean",
        max_length=None,
        batch_size=32,
        device="auto",
        dtype="float32",
        memory=None,
        on_error="raise",
        local_files_only=False,
        verbose=0,
    ):
        self.model = model
        self.revision = revision
        self.layers = layers
        self.flatten = flatten
        self.pooling = pooling
        self.max_length = max_length
        self.batch_size = batch_size
        self.device = device
        self.dtype = dtype
        self.memory = memory
        self.on_error = on_error
        self.local_files_only = local_files_only
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check the parameters and that the transcripts are text; nothing is learned.

        Parameters
        ----------
        X : sequence of str
            Transcripts: a list, tuple, array or Series, or a data frame of one column.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The transformer itself.

        Raises
        ------
        ValueError
            If a transcript is missing or no text, unless ``on_error="nan"``.
        """
        self._resolve()
        self._check_transcripts(X, reset=True)
        return self

    def transform(self, X):
        """Compute one row for each transcript.

        Parameters
        ----------
        X : sequence of str
            As for `fit`.

        Returns
        -------
        X_out : ndarray of float32
            The first axis counts the transcripts.

        Raises
        ------
        ValueError
            If a transcript is missing or no text, unless ``on_error="nan"``: then its row is NaN
            and one warning lists all of them.
        """
        self._validate_params()
        rows = self._resolve()
        refuse_data_frame(self, rows)
        return rows.compute(self._check_transcripts(X, reset=False))

    def get_feature_names_out(self, input_features=None):
        """Name the columns of the output.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Not used.

        Returns
        -------
        feature_names_out : ndarray of str objects
            One name for each column.

        Raises
        ------
        ValueError
            If the output has three axes, and so no columns.
        """
        check_feature_names_in(self, input_features, generate_names=False)
        return name_columns(self, self._resolve())

    def _check_transcripts(self, X, *, reset):
        """Return the transcripts; `reset` is for subclasses that know columns of a table."""
        transcripts = as_transcripts(X)
        if self.on_error == "raise":
            tell_problems(find_problems(transcripts), "raise")
        return transcripts

    def _load_backbone(self):
        from sklearn_ser.backbones import load_text_backbone

        return load_text_backbone(
            self.model,
            device=self.device,
            dtype=self.dtype,
            revision=self.revision,
            local_files_only=self.local_files_only,
            max_length=self.max_length,
        )

    def _resolve(self):
        as_store(self.memory)
        check_layers_given(self.layers)
        backbone = self._load_backbone()
        pooler = TokenPooler(backbone, pooling=self.pooling, batch_size=self.batch_size)
        return rows_of_network(
            self, pooler, embed_transcripts, unit="transcripts", **choose_layers(self, backbone)
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
