"""`slicer.parameterNodeWrapper`, for the types str, int, float, bool, Path, Enum, MRML nodes and unions of these. Lists,
tuples, dicts, colours and parameter packs are not offered. Slicer: Base/Python/slicer/parameterNodeWrapper/."""

from __future__ import annotations

import types

from slicer_standin.parameter_node import connectors, serializers, validators, wrapper


def build() -> types.ModuleType:
    module = types.ModuleType("slicer.parameterNodeWrapper")
    names = {
        validators: "Validator NotNone IsInstance WithinRange Minimum Maximum Choice Exclude Default",
        serializers: "Serializer ValidatedSerializer parameterNodeSerializer NumberSerializer StringSerializer "
        "PathSerializer BoolSerializer NodeSerializer EnumSerializer UnionSerializer",
        connectors: "GuiConnector createGuiConnector parameterNodeGuiConnector Decimals SingleStep",
        wrapper: "parameterNodeWrapper SlicerParameterNamePropertyName isParameterNodeWrapper "
        "findChildWidgetForParameter",
    }
    for source, listed in names.items():
        for name in listed.split():
            setattr(module, name, getattr(source, name))
    return module
