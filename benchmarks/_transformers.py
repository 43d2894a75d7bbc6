"""What users of transformers write: single recordings, and batches padded with zeros."""

import numpy as np
import torch
import transformers


def save_network(network_class, folder, **sizes):
    """Save a network of the wav2vec 2.0 family with random weights, and return its folder."""
    if not folder.exists():
        torch.manual_seed(0)
        network_class(network_class.config_class(**sizes)).save_pretrained(folder)
        transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
    return folder


def hidden_states(network, inputs, **kwargs):
    """Return the hidden states of transformers, the last one after the final norm."""
    parameter = next(network.parameters())
    with torch.inference_mode():
        output = network(
            inputs.to(parameter.device, parameter.dtype), output_hidden_states=True, **kwargs
        )
    return [*output.hidden_states[:-1], output.last_hidden_state]


def pool(layers, row, n_frames=None):
    """Return the means over the frames of a recording, of shape (n_layers, n_dims)."""
    pooled = torch.stack([layer[row, :n_frames].mean(dim=0) for layer in layers])
    return pooled.float().cpu().numpy()


def embed_alone(network, waveforms):
    """Run one recording at a time, and average the frames."""
    return np.stack(
        [
            pool(hidden_states(network, torch.from_numpy(waveform)[None]), 0)
            for waveform in waveforms
        ]
    )


def embed_padded(network, waveforms):
    """Run a zero-padded batch with an attention mask, and average the valid frames."""
    longest = max(map(len, waveforms))
    padded = np.stack([np.pad(waveform, (0, longest - len(waveform))) for waveform in waveforms])
    mask = np.stack([np.arange(longest) < len(waveform) for waveform in waveforms])
    device = next(network.parameters()).device
    layers = hidden_states(
        network, torch.from_numpy(padded), attention_mask=torch.from_numpy(mask).long().to(device)
    )
    n_frames = [network._get_feat_extract_output_lengths(len(waveform)) for waveform in waveforms]
    return np.stack([pool(layers, row, n) for row, n in enumerate(n_frames)])
