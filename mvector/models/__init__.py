"""Backbones: features [B, F, D] become embeddings [B, E]. See :data:`mvector.registry.BACKBONES` for the names."""

from mvector.models.campplus import CAMPPlus
from mvector.models.deep_speaker_gru import DeepSpeakerGRU
from mvector.models.ecapa_tdnn import EcapaTdnn
from mvector.models.ecapa_tdnn_glob import EcapaTdnnGlob
from mvector.models.eres2net import ERes2Net
from mvector.models.eres2net_v2 import ERes2NetV2
from mvector.models.ge2e import GE2E
from mvector.models.panns_cnn import PANNS_CNN
from mvector.models.redimnet import ReDimNet
from mvector.models.res2net import Res2Net, Res2Net34
from mvector.models.rescnn import ResCNN
from mvector.models.resnet import ResNet
from mvector.models.resnet_se import ResNetSE
from mvector.models.simam_resnet import SimAMResNet
from mvector.models.tdnn import TDNN
from mvector.models.thin_resnet import ThinResNet
from mvector.models.vggvox import VGGVox
from mvector.models.xvector import XVector

__all__ = [
    "GE2E",
    "PANNS_CNN",
    "TDNN",
    "CAMPPlus",
    "DeepSpeakerGRU",
    "ERes2Net",
    "ERes2NetV2",
    "EcapaTdnn",
    "EcapaTdnnGlob",
    "ReDimNet",
    "Res2Net",
    "Res2Net34",
    "ResCNN",
    "ResNet",
    "ResNetSE",
    "SimAMResNet",
    "ThinResNet",
    "VGGVox",
    "XVector",
]
