"""What needs many episodes or learns from them: curation, tokenizers, the reference policy.

Labels of a single episode live in `annotators`; running anything at scale lives in `dataengine.flow`.
"""
