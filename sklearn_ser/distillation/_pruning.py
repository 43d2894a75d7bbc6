"""Channel pruning of Whisper's encoder: narrower layers fitted by least squares."""

import numpy as np
import scipy.linalg
import torch
from torch.nn import functional as F

from sklearn_ser.backbones import Packing

# Strength of the ridge penalty, as a number of frames.
_FRAMES_OF_RIDGE = 100
# Minimum variance; that of silence is 0.
_MIN_VARIANCE = 1e-12
# Number of frames by which channels are selected.
_N_FRAMES_TO_SELECT = 6000


def fit_narrow_whisper(narrow, wide, spectrograms):
    """Fit a narrow encoder of Whisper to the first layers of a wider one, in place.

    The narrow encoder keeps those channels of the residual stream, attention heads and
    feed-forward units from which the others are best predicted. Its linear layers are fitted in
    order, each by ridge regression of the wide layer's output on the narrow layer's input, so that
    each layer also corrects the errors of earlier ones. The ridge penalty shrinks towards the wide
    layer's weights. At the same width, the result is the wide encoder.

    Parameters
    ----------
    narrow : transformers.models.whisper.modeling_whisper.WhisperEncoder
        Encoder to fit.
    wide : transformers.models.whisper.modeling_whisper.WhisperEncoder
        Encoder with as many layers, or more.
    spectrograms : list of Tensor of shape (n_mels, n_frames)
        Log-mel spectrograms to fit it on; thousands of frames in all.

    References
    ----------
    Y. He, X. Zhang, J. Sun, "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV
    2017, arXiv 1707.06168, for choosing channels and solving for the weights in turn.
    """
    n_layers, width = len(narrow.layers), narrow.conv1.out_channels
    with torch.no_grad():
        heard = [F.gelu(wide.conv1(piece)) for piece in spectrograms]
        before = _join(wide.conv2(piece) for piece in heard)
        packing = Packing([-(-piece.shape[1] // 2) for piece in heard], before.device)
        positions = torch.cat([torch.arange(n) for n in packing.n_frames])
        states = [F.gelu(before) + wide.embed_positions.weight[positions]]
        for block in wide.layers[:n_layers]:
            states.append(block(states[-1][None], attention_mask=packing)[0])

        rows = _select(_join(heard), width)
        kept = _select(torch.cat(states), width)
        narrow.conv1.weight.copy_(wide.conv1.weight[rows])
        narrow.conv1.bias.copy_(wide.conv1.bias[rows])
        heard = [piece[rows] for piece in heard]
        patches = torch.cat([_patches(piece, narrow.conv2) for piece in heard])
        _fit(narrow.conv2, wide.conv2, kept, rows, patches, before[:, kept])
        narrow.embed_positions.weight.copy_(wide.embed_positions.weight[:, kept])
        own = F.gelu(_join(narrow.conv2(piece) for piece in heard))
        own += narrow.embed_positions.weight[positions]
        for layer in range(n_layers):
            own = _fit_block(
                narrow.layers[layer], wide.layers[layer], own, states[layer], packing, kept
            )
        _slice_norm(narrow.layer_norm, wide.layer_norm, kept)


def _fit_block(block, wide, own, states, packing, kept):
    """Fit a block to the narrow encoder's own hidden states; return the next ones."""
    normed = wide.self_attn_layer_norm(states)
    context = _attend(wide.self_attn, normed, packing)
    written = wide.self_attn.out_proj(context)
    heads = _select_heads(context, written[:, kept], wide.self_attn, block.self_attn.num_heads)
    attention = block.self_attn
    _slice_norm(block.self_attn_layer_norm, wide.self_attn_layer_norm, kept)
    own_normed = block.self_attn_layer_norm(own)
    # Adding a constant to all keys changes no attention weight, so that keys need no bias.
    for name in ("q_proj", "k_proj", "v_proj"):
        whole = getattr(wide.self_attn, name)
        _fit(getattr(attention, name), whole, heads, kept, own_normed, whole(normed)[:, heads])
    own_context = _attend(attention, own_normed, packing)
    states = states + written
    missing = states[:, kept] - own
    _fit(attention.out_proj, wide.self_attn.out_proj, kept, heads, own_context, missing)
    own = own + attention.out_proj(own_context)

    before = wide.fc1(wide.final_layer_norm(states))
    units = F.gelu(before)
    effects = units.std(0, correction=0) * wide.fc2.weight[kept].norm(dim=0)
    strongest = effects.topk(block.fc1.out_features).indices.sort().values
    _slice_norm(block.final_layer_norm, wide.final_layer_norm, kept)
    own_normed = block.final_layer_norm(own)
    _fit(block.fc1, wide.fc1, strongest, kept, own_normed, before[:, strongest])
    own_units = F.gelu(block.fc1(own_normed))
    missing = (states + wide.fc2(units))[:, kept] - own
    _fit(block.fc2, wide.fc2, kept, strongest, own_units, missing)
    return own + block.fc2(own_units)


def _attend(attention, normed, packing):
    """Return the outputs of the attention heads, concatenated, for concatenated recordings."""
    n_heads = attention.num_heads
    found = (getattr(attention, name)(normed) for name in ("q_proj", "k_proj", "v_proj"))
    by_head = (frames.unflatten(-1, (n_heads, -1)) for frames in found)
    return packing.attend(*by_head).flatten(1)


def _select(frames, n_kept):
    """Return the channels that best span the others, by a pivoted QR decomposition."""
    some = frames[:: -(-len(frames) // _N_FRAMES_TO_SELECT)].double().numpy()
    _, order = scipy.linalg.qr(some - some.mean(0), mode="r", pivoting=True)
    return torch.from_numpy(np.sort(order[:n_kept]))


def _select_heads(context, written, attention, n_kept):
    """Return the columns of the heads to keep, by backward elimination."""
    gram, cross = _moments(context, written)
    columns = torch.arange(len(gram)).unflatten(0, (attention.num_heads, -1))

    def explained(heads):
        some = columns[heads].flatten()
        return float((torch.linalg.solve(gram[some][:, some], cross[some]) * cross[some]).sum())

    heads = list(range(attention.num_heads))
    while len(heads) > n_kept:
        least = max(heads, key=lambda head: explained([other for other in heads if other != head]))
        heads.remove(least)
    return columns[heads].flatten()


def _moments(inputs, targets):
    inputs, targets = inputs.double(), targets.double()
    inputs, targets = inputs - inputs.mean(0), targets - targets.mean(0)
    gram = inputs.T @ inputs
    variance = gram.diagonal().mean() / len(inputs)
    gram.diagonal().add_(_FRAMES_OF_RIDGE * variance.clamp_min(_MIN_VARIANCE))
    return gram, inputs.T @ targets


def _fit(layer, wide, outputs, inputs, seen, targets):
    """Fit a layer by ridge regression that shrinks towards a slice of a wide layer's weights.

    Parameters
    ----------
    layer, wide : Linear or Conv1d
        Layer to fit, in place, and wide layer.
    outputs, inputs : Tensor of int
        Indices of the layer's outputs and inputs in the wide layer.
    seen : Tensor of shape (n_frames, n_inputs)
        Inputs of the layer.
    targets : Tensor of shape (n_frames, n_outputs)
        Outputs to predict.
    """
    weight = wide.weight[outputs][:, inputs].flatten(1).double()
    gram, cross = _moments(seen, targets - seen @ weight.float().T)
    weight += torch.linalg.solve(gram, cross).T
    layer.weight.copy_(weight.reshape(layer.weight.shape))
    if layer.bias is not None:
        layer.bias.copy_(targets.double().mean(0) - weight @ seen.double().mean(0))


def _patches(frames, convolution):
    """Return the receptive fields of a convolution, (n_outputs, n_channels * kernel_size)."""
    (n_taps,), (stride,), (padding,) = (
        getattr(convolution, name) for name in ("kernel_size", "stride", "padding")
    )
    padded = F.pad(frames, (padding, padding))
    return padded.unfold(1, n_taps, stride).transpose(0, 1).flatten(1)


def _join(pieces):
    """Return the frames of pieces of shape (n_channels, n_frames), concatenated."""
    return torch.cat([piece.T for piece in pieces])


def _slice_norm(norm, wide, kept):
    norm.weight.copy_(wide.weight[kept])
    norm.bias.copy_(wide.bias[kept])
