"""Layers of text encoders as a scikit-learn transformer."""

from numbers import Integral

from sklearn.base import TransformerMixin
from sklearn.callback import CallbackSupportMixin

from sklearn_ser._pickles import Estimator
from sklearn_ser._sklearn import Interval, StrOptions, check_feature_names_in, fit_context
from sklearn_ser.store import as_store

from ._base import check_output_container, is_overridden, name_columns
from ._next_step import check_next_step
from ._pretrained import (
    LAYER_CONSTRAINTS,
    PRECISION_CONSTRAINTS,
    PRETRAINED_CONSTRAINTS,
    check_layers_not_empty,
    choose_layers,
    resolve_embedder,
)
from ._progress import announce_fit
from ._text_embedding import TOKEN_POOLINGS, TokenPooler, embed_transcripts
from ._transcripts import as_transcripts, find_problems, report_problems


class TextEmbedder(CallbackSupportMixin, TransformerMixin, Estimator):
    """Layers of a frozen text encoder, pooled over tokens.

    For each transcript and layer, the hidden states are summarised by their mean or maximum over
    tokens, or by the first token. The transformer is stateless: `transform` can be called
    without `fit`.

    Parameters
    ----------
    model : str or path, default="distilbert/distilbert-base-uncased"
        Hub id, or folder with ``config.json``, the weights and the tokenizer. Masked language
        models of transformers are supported, such as BERT, DistilBERT, RoBERTa, XLM-RoBERTa,
        DeBERTa, MPNet, ALBERT, ELECTRA and ModernBERT, and sentence-transformers based on them.
        The owner can be omitted for well-known models, such as "bert-base-uncased".
    revision : str, default=None
        Branch, tag or commit of a model on the hub. If None, the cached version of the main
        branch is used; it is downloaded if there is none.
    layers : {"last", "all"}, int or list of int, default="last"
        Hidden states to return, numbered as in transformers: 0 is the input of the first block,
        1 the output of the first block, and so on; negative numbers count from the last layer.
        BERT, DistilBERT, RoBERTa, XLM-RoBERTa and CamemBERT do not compute layers beyond the
        deepest requested one.
    flatten : bool, default=False
        Whether to concatenate several layers in one row, in the order of `layers`. If False,
        several layers are returned along a separate axis.
    pooling : {"mean", "max", "cls"}, default="mean"
        Statistic of each layer: the mean or the maximum over all tokens of the transcript,
        including the special tokens added by the tokenizer, or the hidden state of the first
        token, which is ``[CLS]`` in BERT.
    max_length : int, default=None
        Maximum number of tokens of a transcript, including the special tokens added by the
        tokenizer. Longer transcripts are truncated, and one warning lists them. If None, the
        limit of the model is used.
    batch_size : int, default=32
        Maximum number of transcripts in a batch. A batch is also limited to ``64 * batch_size``
        tokens. Does not change the results.
    device : str, default="auto"
        Device of the network, such as "cpu", "cuda" or "cuda:1". With "auto", a CUDA GPU is used
        if available, otherwise the CPU.
    dtype : {"auto", "float32", "bfloat16", "float16"}, default="float32"
        Precision of weights and arithmetic. Statistics over tokens and the output are float32.
        "auto" is bfloat16 if this device is measured to multiply matrices at least 1.5 times as
        fast with it, else float32; results then depend on the machine.
    memory : str, path, `EmbeddingStore` or `joblib.Memory`, default=None
        Folder or store that caches embeddings. Entries are found by the tokens of the
        transcript, so each transcript is embedded once across folds, candidates, processes and
        sessions. All computed layers are stored, so another choice of `layers` can reuse them.
        If None, nothing is cached.
    on_error : {"raise", "nan"}, default="raise"
        What to do with missing values (None, NaN) and other non-text entries. "raise" raises a
        ValueError; "nan" returns rows of NaN and emits one warning that lists these entries.
    local_files_only : bool, default=False
        If True, only use a model that is already on this machine, without a download.
    verbose : int, default=0
        If 1, show a progress bar while the network runs. Nothing is shown if all embeddings are
        cached.

    See Also
    --------
    WavLMEmbedder : Layers of WavLM, from recordings.
    LayerSelector : Select or combine layers inside cross-validation.
    EmbeddingStore : Cache of embeddings with a limit on its size, for `memory`.

    Notes
    -----
    **Exact batches.** The embedding of a transcript does not depend on the other transcripts in
    its batch, nor on their order. It equals the output of transformers' tokenizer and network
    for this transcript alone, because only transcripts with the same number of tokens share a
    batch and nothing is padded. In float32 the relative difference is below 1e-5 for each layer.
    No padding mask is needed, so this also holds for networks without one (FNet) or with
    positions that depend on padding (RoBERTa).

    Equal transcripts are embedded once. This includes transcripts with equal tokens, such as
    "Yes" and "yes" for an uncased model. The embedding of an empty or blank transcript is that
    of the special tokens, such as ``[CLS] [SEP]``.

    Decoders such as GPT-2 are not supported, because their first tokens do not attend to the
    following ones, nor are encoder-decoder networks such as T5 and BART.

    Weights are loaded when the first transcript is embedded, once per process. Clones share
    them, and they are not pickled. Missing or unexpected weights raise an error, except those of
    a pooler or a head, which do not affect the hidden states. A folder without a tokenizer
    raises an error; transformers would create an empty tokenizer.

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
    A small network with random weights, saved in the format of the hub:

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
        """Validate the parameters and the transcripts.

        Parameters
        ----------
        X : sequence of str
            Transcripts: a list, tuple, array or Series, or a data frame with one column.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The transformer.

        Raises
        ------
        ValueError
            If a transcript is missing or not text, unless ``on_error="nan"``; if the output is
            3-dimensional and the next step of a pipeline takes tables.
        """
        with announce_fit(self, X, y):
            self._prepare(X)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X, y=None):
        """Validate the parameters, and embed transcripts.

        Callbacks of scikit-learn, from `set_callbacks` or of a pipeline or search, follow the
        progress: a task for the call, with a subtask for each transcript, or for each hundredth
        of them. They are not told of `transform`, which fits nothing.

        Parameters
        ----------
        X : sequence of str
            Transcripts: a list, tuple, array or Series, or a data frame with one column.
        y : None
            Ignored.

        Returns
        -------
        X_out : ndarray of shape (n_transcripts, n_features) or (n_transcripts, n_layers, n_dims)
            Embeddings, of dtype float32.

        Raises
        ------
        ValueError
            As in `fit` and `transform`.
        """
        if is_overridden(self, TextEmbedder):
            return super().fit_transform(X, y)
        resolved, transcripts = self._prepare(X)
        check_output_container(self, resolved)
        n_samples = len(transcripts)
        with announce_fit(self, X, y, task_name="fit-transform", n_samples=n_samples) as report:
            return resolved.compute(transcripts, report)

    def transform(self, X):
        """Embed transcripts.

        Parameters
        ----------
        X : sequence of str
            Transcripts: a list, tuple, array or Series, or a data frame with one column.

        Returns
        -------
        X_out : ndarray of shape (n_transcripts, n_features) or (n_transcripts, n_layers, n_dims)
            Embeddings, of dtype float32.

        Raises
        ------
        ValueError
            If a transcript is missing or not text. With ``on_error="nan"``, its row is NaN
            instead, and one warning lists these transcripts.
        """
        self._validate_params()
        resolved = self._resolve()
        check_output_container(self, resolved)
        return resolved.compute(self._check_transcripts(X, reset=False))

    def get_feature_names_out(self, input_features=None):
        """Return the column names of the output.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Ignored.

        Returns
        -------
        feature_names_out : ndarray of str objects
            Names of the columns.

        Raises
        ------
        ValueError
            If the output is 3-dimensional and therefore has no columns.
        """
        check_feature_names_in(self, input_features, generate_names=False)
        return name_columns(self, self._resolve())

    def _prepare(self, X):
        """Check the parameters and transcripts of a fit; return the computation and the latter."""
        resolved = self._resolve()
        if resolved.name_columns is None:
            check_next_step(self, resolved.two_axes_remedy)
        return resolved, self._check_transcripts(X, reset=True)

    def _check_transcripts(self, X, *, reset):
        """Return the transcripts as a list; `reset` is for subclasses that check column names."""
        transcripts = as_transcripts(X)
        if self.on_error == "raise":
            report_problems(find_problems(transcripts), "raise")
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
        check_layers_not_empty(self.layers)
        backbone = self._load_backbone()
        pooler = TokenPooler(backbone, pooling=self.pooling, batch_size=self.batch_size)
        return resolve_embedder(
            self, pooler, embed_transcripts, unit="transcripts", **choose_layers(self, backbone)
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
