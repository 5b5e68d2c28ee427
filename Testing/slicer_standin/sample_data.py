"""`SampleData`: sources are recorded, nothing is downloaded. Slicer: Modules/Scripted/SampleData/SampleData.py."""

from __future__ import annotations

from typing import Any

import slicer


class SampleDataSource:
    """The fields that a source is registered with, each a list with one entry for each file."""

    def __init__(self, sampleName: Any = None, uris: Any = None, **fields: Any) -> None:
        self.sampleName = sampleName
        single = isinstance(uris, str)
        self.uris = [uris] if single else list(uris)
        self.thumbnailFileName = fields.pop("thumbnailFileName", None)
        self.customDownloader = fields.pop("customDownloader", None)
        self.loadFileProperties = fields.pop("loadFileProperties", None) or {}
        for name in ("fileNames", "nodeNames", "loadFiles", "loadFileTypes", "checksums"):
            value = fields.pop(name, None)
            listed = [value] * len(self.uris) if single or value is None or isinstance(value, str) else list(value)
            if len(listed) != len(self.uris):
                raise ValueError(f"All fields of sample data source must have the same length: {name}")
            setattr(self, name, listed)
        if fields:
            raise TypeError(f"unknown fields {list(fields)}")


class SampleDataLogic:
    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileTypes: Any = None,
        loadFiles: Any = None,
        loadFileProperties: Any = None,
        checksums: Any = None,
        loadFileType: Any = None,
    ) -> None:
        if loadFileType is not None and loadFileTypes is not None:
            raise ValueError("loadFileType and loadFileTypes cannot be specified at the same time")
        source = SampleDataSource(
            sampleName=sampleName,
            uris=uris,
            fileNames=fileNames,
            nodeNames=nodeNames,
            customDownloader=customDownloader,
            thumbnailFileName=thumbnailFileName,
            loadFileTypes=loadFileTypes if loadFileType is None else loadFileType,
            loadFiles=loadFiles,
            loadFileProperties=loadFileProperties,
            checksums=checksums,
        )
        if not hasattr(slicer.modules, "sampleDataSources"):
            slicer.modules.sampleDataSources = {}
        known = slicer.modules.sampleDataSources.setdefault(category, [])
        if not any(vars(other) == vars(source) for other in known):
            known.append(source)
