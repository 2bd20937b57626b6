"""Where the tokenizer class of each name lies, and which one each kind of model has. Reading it imports none."""

from __future__ import annotations

#: The classes of each module of `tokenization`, without the ending "Fast".
_CLASSES: dict[str, str] = {
    "bert": "BertTokenizer DistilBertTokenizer",
    "models.albert": (
        "AlbertTokenizer BigBirdTokenizer DebertaV2Tokenizer FNetTokenizer ReformerTokenizer RemBertTokenizer "
        "XLNetTokenizer"
    ),
    "models.bytelevel": "ByT5Tokenizer PerceiverTokenizer",
    "models.canine": "CanineTokenizer",
    "models.esm": "EsmTokenizer",
    "models.gpt2": (
        "BloomTokenizer CodeGenTokenizer CohereTokenizer GPT2Tokenizer GPTNeoXTokenizer Qwen2Tokenizer"
    ),
    "models.llama": "CodeLlamaTokenizer GemmaTokenizer LlamaTokenizer",
    "models.marian": "M2M100Tokenizer MarianTokenizer Speech2TextTokenizer",
    "models.own_pieces": "BertGenerationTokenizer GPTSw3Tokenizer SpeechT5Tokenizer",
    "models.roberta": (
        "BartTokenizer BlenderbotTokenizer DebertaTokenizer LEDTokenizer LongformerTokenizer MvpTokenizer "
        "RobertaTokenizer"
    ),
    "models.t5": "MT5Tokenizer PegasusTokenizer T5Tokenizer",
    "models.translation": "MBart50Tokenizer MBartTokenizer NllbTokenizer SeamlessM4TTokenizer",
    "models.wav2vec2": "Wav2Vec2CTCTokenizer",
    "models.whisper": "WhisperTokenizer",
    "models.wordpiece": (
        "ConvBertTokenizer DPRContextEncoderTokenizer DPRQuestionEncoderTokenizer DPRReaderTokenizer "
        "ElectraTokenizer FunnelTokenizer LayoutLMTokenizer LxmertTokenizer MPNetTokenizer MobileBertTokenizer "
        "RealmTokenizer RetriBertTokenizer SplinterTokenizer SqueezeBertTokenizer"
    ),
    "models.words": "CLIPTokenizer HerbertTokenizer OpenAIGPTTokenizer",
    "models.xlm_roberta": "BarthezTokenizer CamembertTokenizer XGLMTokenizer XLMRobertaTokenizer",
}

#: Modules by the name of the class.
MODULES: dict[str, str] = {name: module for module, names in _CLASSES.items() for name in names.split()}
#: Modules whose classes transformers has without the ending "Fast" alone.
_WITHOUT_FAST = (
    "models.bytelevel",
    "models.canine",
    "models.esm",
    "models.marian",
    "models.own_pieces",
    "models.wav2vec2",
)
#: The public names of each module: its classes with and without the ending "Fast".
PUBLIC_NAMES: dict[str, tuple[str, ...]] = {
    module: tuple(
        name + ending
        for name in names.split()
        for ending in (("",) if module in _WITHOUT_FAST else ("", "Fast"))
    )
    for module, names in _CLASSES.items()
}

#: Model types by class, as config.json names them; the class without the ending "Fast".
_MODEL_TYPES: dict[str, str] = {
    "AlbertTokenizer": "albert nystromformer yoso",
    "BartTokenizer": "bart",
    "BarthezTokenizer": "barthez",
    "BartphoTokenizer": "bartpho",
    "BertGenerationTokenizer": "bert-generation",
    "BertJapaneseTokenizer": "bert-japanese",
    "BertTokenizer": (
        "align bark bert blip bros chinese_clip ernie git grounding-dino megatron-bert mm-grounding-dino "
        "nezha qdqbert tvp vilt visual_bert"
    ),
    "BertweetTokenizer": "bertweet",
    "BigBirdTokenizer": "big_bird",
    "BioGptTokenizer": "biogpt",
    "BlenderbotSmallTokenizer": "blenderbot-small",
    "BlenderbotTokenizer": "blenderbot",
    "BloomTokenizer": "bloom",
    "ByT5Tokenizer": "byt5",
    "CLIPTokenizer": "aimv2 clip clipseg groupvit omdet-turbo oneformer owlv2 owlvit xclip",
    "CTRLTokenizer": "ctrl",
    "CamembertTokenizer": "camembert",
    "CanineTokenizer": "canine",
    "ClvpTokenizer": "clvp",
    "CodeGenTokenizer": "codegen phi",
    "CodeLlamaTokenizer": "code_llama",
    "CohereTokenizer": "aya_vision cohere cohere2",
    "ConvBertTokenizer": "convbert",
    "CpmAntTokenizer": "cpmant",
    "CpmTokenizer": "cpm",
    "DPRQuestionEncoderTokenizer": "dpr",
    "DebertaTokenizer": "deberta",
    "DebertaV2Tokenizer": "deberta-v2",
    "DiaTokenizer": "dia",
    "DistilBertTokenizer": "distilbert",
    "ElectraTokenizer": "electra",
    "ErnieMTokenizer": "ernie_m",
    "EsmTokenizer": "esm",
    "FNetTokenizer": "fnet",
    "FSMTTokenizer": "fsmt",
    "FastSpeech2ConformerTokenizer": "fastspeech2_conformer",
    "FlaubertTokenizer": "flaubert",
    "FunnelTokenizer": "funnel",
    "GPT2Tokenizer": (
        "blip-2 dbrx emu3 exaone4 flex_olmo gpt2 gpt_bigcode gpt_neo gptj granite granitemoe "
        "granitemoehybrid granitemoeshared instructblip instructblipvideo minimax olmo3 opt starcoder2"
    ),
    "GPTNeoXJapaneseTokenizer": "gpt_neox_japanese",
    "GPTNeoXTokenizer": ("falcon_mamba gpt_neox mamba mamba2 mpt olmo olmo2 olmoe rwkv stablelm xlstm"),
    "GPTSanJapaneseTokenizer": "gptsan-japanese",
    "GPTSw3Tokenizer": "gpt-sw3",
    "GemmaTokenizer": (
        "gemma gemma2 gemma3 gemma3_text gemma3n gemma3n_text recurrent_gemma shieldgemma2 siglip2 t5gemma"
    ),
    "HerbertTokenizer": "herbert",
    "JukeboxTokenizer": "jukebox",
    "LEDTokenizer": "led",
    "LayoutLMTokenizer": "layoutlm",
    "LayoutLMv2Tokenizer": "layoutlmv2",
    "LayoutLMv3Tokenizer": "layoutlmv3 lilt",
    "LayoutXLMTokenizer": "layoutxlm",
    "LlamaTokenizer": (
        "arcee aria chameleon colpali deepseek_v2 deepseek_v3 deepseek_vl deepseek_vl_hybrid diffllama "
        "ernie4_5 ernie4_5_moe idefics idefics2 idefics3 jamba janus jetmoe llama "
        "llama4 llama4_text llava llava_next llava_next_video llava_onevision ministral mistral mistral3 "
        "mixtral mllama paligemma persimmon phi3 phimoe video_llava vipllava zamba zamba2"
    ),
    "LongformerTokenizer": "longformer",
    "LukeTokenizer": "luke",
    "LxmertTokenizer": "lxmert",
    "M2M100Tokenizer": "m2m_100",
    "MBart50Tokenizer": "mbart50",
    "MBartTokenizer": "mbart",
    "MLukeTokenizer": "mluke",
    "MPNetTokenizer": "mpnet",
    "MT5Tokenizer": "mt5",
    "MarianTokenizer": "marian",
    "MgpstrTokenizer": "mgp-str",
    "MobileBertTokenizer": "mobilebert",
    "MvpTokenizer": "mvp",
    "MyT5Tokenizer": "myt5",
    "NllbTokenizer": "nllb nllb-moe",
    "OpenAIGPTTokenizer": "openai-gpt",
    "PLBartTokenizer": "plbart",
    "ParakeetCTCTokenizer": "parakeet",
    "PegasusTokenizer": "bigbird_pegasus pegasus pegasus_x",
    "PerceiverTokenizer": "perceiver",
    "PhobertTokenizer": "phobert",
    "PreTrainedTokenizer": (
        "bitnet blt csm falcon glm glm4 glm4_moe glm4v glm4v_moe gpt_oss helium kosmos-2.5 modernbert "
        "moonshine moshi nemotron pixtral smollm3 voxtral"
    ),
    "ProphetNetTokenizer": "prophetnet",
    "Qwen2Tokenizer": (
        "colqwen2 internvl qwen2 qwen2_5_omni qwen2_5_vl qwen2_audio qwen2_moe qwen2_vl qwen3 qwen3_moe "
        "qwen3_next qwen3_omni_moe qwen3_vl qwen3_vl_moe"
    ),
    "RagTokenizer": "rag",
    "RealmTokenizer": "realm",
    "ReformerTokenizer": "reformer",
    "RemBertTokenizer": "rembert",
    "RetriBertTokenizer": "retribert",
    "RoCBertTokenizer": "roc_bert",
    "RoFormerTokenizer": "roformer",
    "RobertaTokenizer": ("bridgetower clap data2vec-text ibert mega mra roberta roberta-prelayernorm"),
    "SeamlessM4TTokenizer": "seamless_m4t seamless_m4t_v2",
    "SiglipTokenizer": "siglip",
    "Speech2Text2Tokenizer": "speech_to_text_2",
    "Speech2TextTokenizer": "speech_to_text",
    "SpeechT5Tokenizer": "speecht5",
    "SplinterTokenizer": "splinter",
    "SqueezeBertTokenizer": "squeezebert",
    "T5Tokenizer": "longt5 musicgen musicgen_melody pix2struct switch_transformers t5 umt5",
    "TapasTokenizer": "tapas",
    "TapexTokenizer": "tapex",
    "TransfoXLTokenizer": "transfo-xl",
    "UdopTokenizer": "udop",
    "VitsTokenizer": "vits",
    "Wav2Vec2CTCTokenizer": "data2vec-audio hubert wav2vec2 wav2vec2-bert wav2vec2-conformer",
    "Wav2Vec2PhonemeCTCTokenizer": "wav2vec2_phoneme",
    "WhisperTokenizer": "whisper",
    "XGLMTokenizer": "xglm",
    "XLMProphetNetTokenizer": "xlm-prophetnet",
    "XLMRobertaTokenizer": "kosmos-2 metaclip_2 xlm-roberta xlm-roberta-xl xmod",
    "XLMTokenizer": "xlm",
    "XLNetTokenizer": "xlnet",
}

#: Classes by model type.
TOKENIZERS: dict[str, str] = {
    model_type: name for name, model_types in _MODEL_TYPES.items() for model_type in model_types.split()
}

_BOXES = "its inputs are words with boxes, which tokenizers here do not take"
_PROGRAM = "it needs a program for that language's words, which is not part of oxiformers"

#: Classes that are refused even where a tokenizer.json is there, since it does not say what they do, and why.
REFUSED: dict[str, str] = {
    "LayoutLMv2Tokenizer": _BOXES,
    "LayoutLMv3Tokenizer": _BOXES,
    "LayoutXLMTokenizer": _BOXES,
    "MarkupLMTokenizer": "its inputs are web pages, which tokenizers here do not take",
    "TapasTokenizer": "its inputs are tables, which tokenizers here do not take",
    "UdopTokenizer": _BOXES,
    "CpmTokenizer": _PROGRAM,
    "RoFormerTokenizer": _PROGRAM,
}
