"""Kinds of files that weights are published in, each by the names of its tensors."""

from monch_monai.encoders.publication import Format

OPEN_CLIP_TEXT = Format(
    "an open_clip or OpenAI file of a CLIP model",
    ((r"^text\.", ""),),
    unused=r"visual\.|logit_scale$|(input_resolution|context_length|vocab_size)$",
)
OPEN_CLIP_RESNET = Format(
    "an open_clip or OpenAI file of a CLIP ResNet",
    ((r"^image\.trunk\.", "visual."), (r"^text\.", "")),
    unused=r"visual\.(layer4|attnpool)\.|logit_scale$|(input_resolution|context_length|vocab_size)$",
)
OPEN_CLIP_VIT = Format(
    "an open_clip or OpenAI file of a CLIP vision transformer",
    (
        (r"^image\.trunk\.blocks\.(\d+)\.", r"visual.transformer.resblocks.\1."),
        (r"^image\.trunk\.cls_token$", "visual.class_embedding"),
        (r"^image\.trunk\.pos_embed$", "visual.positional_embedding"),
        (r"^image\.trunk\.patch_embed\.proj\.", "visual.conv1."),
        (r"^image\.trunk\.norm_pre\.", "visual.ln_pre."),
        (r"^image\.trunk\.norm\.", "visual.ln_post."),
        (r"\.norm(\d)\.", r".ln_\1."),
        (r"\.attn\.qkv\.", ".attn.in_proj_"),
        (r"\.attn\.proj\.", ".attn.out_proj."),
        (r"\.mlp\.fc1\.", ".mlp.c_fc."),
        (r"\.mlp\.fc2\.", ".mlp.c_proj."),
        (r"^text\.", ""),
    ),
    unused=r"visual\.proj$|logit_scale$|(input_resolution|context_length|vocab_size)$",
)
TRANSFORMERS_CLIP = Format(
    "a transformers file of a CLIP vision transformer",
    (
        (r"^image\.trunk\.blocks\.", "vision_model.encoder.layers."),
        (r"^image\.trunk\.cls_token$", "vision_model.embeddings.class_embedding"),
        (r"^image\.trunk\.pos_embed$", "vision_model.embeddings.position_embedding.weight"),
        (r"^image\.trunk\.patch_embed\.proj\.", "vision_model.embeddings.patch_embedding."),
        (r"^image\.trunk\.norm_pre\.", "vision_model.pre_layrnorm."),
        (r"^image\.trunk\.norm\.", "vision_model.post_layernorm."),
        (r"\.norm(\d)\.", r".layer_norm\1."),
        (r"\.attn\.qkv\.", ".self_attn.{q,k,v}_proj."),
        (r"\.attn\.proj\.", ".self_attn.out_proj."),
        (r"^text\.transformer\.resblocks\.", "text_model.encoder.layers."),
        (r"^text\.token_embedding\.", "text_model.embeddings.token_embedding."),
        (r"^text\.positional_embedding$", "text_model.embeddings.position_embedding.weight"),
        (r"^text\.ln_final\.", "text_model.final_layer_norm."),
        (r"^text\.text_projection$", "text_projection.weight"),
        (r"\.ln_(\d)\.", r".layer_norm\1."),
        (r"\.attn\.in_proj_", ".self_attn.{q,k,v}_proj."),
        (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
        (r"\.mlp\.c_fc\.", ".mlp.fc1."),
        (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    ),
    unused=r"visual_projection\.weight$|logit_scale$|(text|vision)_model\.embeddings\.position_ids$",
    transposed=("text.text_projection",),
)
CONCH = Format(
    "a CONCH file",
    ((r"^image\.", "visual."),),
    unused=r"visual\.(attn_pool|ln|proj)_(contrast|caption)|text_decoder\.|logit_scale$",
)
META_SAM = Format(
    "Meta's SAM",
    ((r"^image\.trunk\.", "image_encoder."), (r"\.mlp\.fc", ".mlp.lin")),
    unused=r"(prompt_encoder|mask_decoder)\.",
)
TRANSFORMERS_SAM = Format(
    "a transformers file of SAM",
    (
        (r"^image\.trunk\.", "vision_encoder."),
        (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
        (r"\.blocks\.", ".layers."),
        (r"\.norm(\d)\.", r".layer_norm\1."),
        (r"\.mlp\.fc", ".mlp.lin"),
        (r"\.neck\.0\.", ".neck.conv1."),
        (r"\.neck\.1\.", ".neck.layer_norm1."),
        (r"\.neck\.2\.", ".neck.conv2."),
        (r"\.neck\.3\.", ".neck.layer_norm2."),
    ),
    unused=r"(shared_image_embedding|prompt_encoder|mask_decoder)\.",
)
META_SAM2 = Format(
    "Meta's SAM 2",
    (
        (r"^image\.neck\.(\d+)\.", r"image_encoder.neck.convs.\1.conv."),
        (r"^image\.", "image_encoder."),
        (r"\.mlp\.fc1\.", ".mlp.layers.0."),
        (r"\.mlp\.fc2\.", ".mlp.layers.1."),
    ),
    unused=r"(sam_|mask|memory_|no_|obj_)",
)
TIMM = Format("a timm file", ((r"^image\.trunk\.", ""),))
