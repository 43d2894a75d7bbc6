"""A narrower encoder from a wider one's first layers: each of its parts by least squares."""

import numpy as np
import scipy.linalg
import torch
from torch.nn import functional as F

# What a ridge regression holds on to weighs as much as so many frames.
_FRAMES_OF_RIDGE = 100
# Silence has none.
_LEAST_VARIANCE = 1e-12
# So many frames tell which channels span the others.
_N_FRAMES_TO_CHOOSE = 6000


def fit_narrow_whisper(narrow, wide, spectrograms):
    """Fit an encoder of Whisper's make to the first layers of a wider one.

    It keeps those channels between the blocks, heads of attention and units of the feed-forward
    layers from which the others follow best, and each of its maps, one after the other, is the
    ridge regression of what the wide one computes there on what the narrow one has by then: so it
    makes up for what is missing and for what those before it have missed. What few frames can't
    tell stays as it is in the wide one. Of the same width, it is the wide one.

    Parameters
    ----------
    narrow : transformers.models.whisper.modeling_whisper.WhisperEncoder
        Changed in place.
    wide : the same
        With as many layers, or more.
    spectrograms : list of Tensor of shape (n_mels, n_frames)
        What both are to agree on; thousands of frames in all.

    References
    ----------
    Y. He, X. Zhang, J. Sun, "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV
    2017, arXiv 1707.06168, for choosing channels and solving for the weights in turn.
    """
    n_layers, width = len(narrow.layers), narrow.conv1.out_channels
    with torch.no_grad():
        heard = [F.gelu(wide.conv1(piece)) for piece in spectrograms]
        before = _join(wide.conv2(piece) for piece in heard)
        n_frames = [-(-piece.shape[1] // 2) for piece in heard]
        positions = torch.cat([torch.arange(n) for n in n_frames])
        states = [F.gelu(before) + wide.embed_positions.weight[positions]]
        for block in wide.layers[:n_layers]:
            states.append(_run(block, states[-1], n_frames))

        rows = _choose(_join(heard), width)
        kept = _choose(torch.cat(states), width)
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
                narrow.layers[layer], wide.layers[layer], own, states[layer], n_frames, kept
            )
        _take_over(narrow.layer_norm, wide.layer_norm, kept)


def _fit_block(block, wide, own, states, n_frames, kept):
    """Fit a block that follows the narrow one's own states; return what it makes of them."""
    normed = wide.self_attn_layer_norm(states)
    context = _attend(wide.self_attn, normed, n_frames)
    written = wide.self_attn.out_proj(context)
    heads = _choose_heads(context, written[:, kept], wide.self_attn, block.self_attn.num_heads)
    attention = block.self_attn
    _take_over(block.self_attn_layer_norm, wide.self_attn_layer_norm, kept)
    own_normed = block.self_attn_layer_norm(own)
    # To the keys of all frames alike a constant may be added, so none needs a bias.
    for name in ("q_proj", "k_proj", "v_proj"):
        whole = getattr(wide.self_attn, name)
        _fit(getattr(attention, name), whole, heads, kept, own_normed, whole(normed)[:, heads])
    own_context = _attend(attention, own_normed, n_frames)
    states = states + written
    missing = states[:, kept] - own
    _fit(attention.out_proj, wide.self_attn.out_proj, kept, heads, own_context, missing)
    own = own + attention.out_proj(own_context)

    before = wide.fc1(wide.final_layer_norm(states))
    units = F.gelu(before)
    effects = units.std(0, correction=0) * wide.fc2.weight[kept].norm(dim=0)
    strongest = effects.topk(block.fc1.out_features).indices.sort().values
    _take_over(block.final_layer_norm, wide.final_layer_norm, kept)
    own_normed = block.final_layer_norm(own)
    _fit(block.fc1, wide.fc1, strongest, kept, own_normed, before[:, strongest])
    own_units = F.gelu(block.fc1(own_normed))
    missing = (states + wide.fc2(units))[:, kept] - own
    _fit(block.fc2, wide.fc2, kept, strongest, own_units, missing)
    return own + block.fc2(own_units)


def _run(block, states, n_frames):
    states = states + block.self_attn.out_proj(
        _attend(block.self_attn, block.self_attn_layer_norm(states), n_frames)
    )
    return states + block.fc2(F.gelu(block.fc1(block.final_layer_norm(states))))


def _attend(attention, normed, n_frames):
    """Return what the heads find, one after the other, for recordings one after the other."""
    n_heads = attention.num_heads
    found = (getattr(attention, name)(normed) for name in ("q_proj", "k_proj", "v_proj"))
    parts = (f.unflatten(-1, (n_heads, -1)).transpose(0, 1).split(n_frames, 1) for f in found)
    contexts = [F.scaled_dot_product_attention(*part) for part in zip(*parts, strict=True)]
    return torch.cat(contexts, dim=1).transpose(0, 1).flatten(1)


def _choose(frames, n_kept):
    """Return the channels from which the others follow best, by a pivoted QR decomposition."""
    some = frames[:: -(-len(frames) // _N_FRAMES_TO_CHOOSE)].double().numpy()
    _, order = scipy.linalg.qr(some - some.mean(0), mode="r", pivoting=True)
    return torch.from_numpy(np.sort(order[:n_kept]))


def _choose_heads(context, written, attention, n_kept):
    """Return the columns of the heads to keep: again and again the one least missed goes."""
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
    gram.diagonal().add_(_FRAMES_OF_RIDGE * variance.clamp_min(_LEAST_VARIANCE))
    return gram, inputs.T @ targets


def _fit(layer, wide, outputs, inputs, seen, targets):
    """Set a layer's weights to some of a wide one's, and to what makes the targets of what it sees.

    Parameters
    ----------
    layer, wide : Linear or Conv1d
    outputs, inputs : Tensor of int
        Which of the wide one's the layer has.
    seen : Tensor of shape (n_frames, n_inputs)
    targets : Tensor of shape (n_frames, n_outputs)
    """
    weight = wide.weight[outputs][:, inputs].flatten(1).double()
    gram, cross = _moments(seen, targets - seen @ weight.float().T)
    weight += torch.linalg.solve(gram, cross).T
    layer.weight.copy_(weight.reshape(layer.weight.shape))
    if layer.bias is not None:
        layer.bias.copy_(targets.double().mean(0) - weight @ seen.double().mean(0))


def _patches(frames, convolution):
    """Return what a convolution sees at each place, (n_places, n_channels * n_taps)."""
    (n_taps,), (stride,), (padding,) = (
        getattr(convolution, name) for name in ("kernel_size", "stride", "padding")
    )
    padded = F.pad(frames, (padding, padding))
    return padded.unfold(1, n_taps, stride).transpose(0, 1).flatten(1)


def _join(pieces):
    """Return frames of all pieces, each (n_channels, n_frames), one after the other."""
    return torch.cat([piece.T for piece in pieces])


def _take_over(norm, wide, kept):
    norm.weight.copy_(wide.weight[kept])
    norm.bias.copy_(wide.bias[kept])
