/** The files of reference values that operations are replayed from, imported so that browsers have them too. */
import activationFile from '../reference/activation.json' with { type: 'json' };
import attentionFile from '../reference/attention.json' with { type: 'json' };
import binaryFile from '../reference/binary.json' with { type: 'json' };
import convolutionFile from '../reference/convolution.json' with { type: 'json' };
import indexingFile from '../reference/indexing.json' with { type: 'json' };
import lossFile from '../reference/loss.json' with { type: 'json' };
import matmulFile from '../reference/matmul.json' with { type: 'json' };
import normalizationFile from '../reference/normalization.json' with { type: 'json' };
import paddingFile from '../reference/padding.json' with { type: 'json' };
import poolingFile from '../reference/pooling.json' with { type: 'json' };
import promotionFile from '../reference/promotion.json' with { type: 'json' };
import reductionFile from '../reference/reduction.json' with { type: 'json' };
import resizingFile from '../reference/resizing.json' with { type: 'json' };
import scanFile from '../reference/scan.json' with { type: 'json' };
import shapeFile from '../reference/shape.json' with { type: 'json' };
import sortingFile from '../reference/sorting.json' with { type: 'json' };
import ternaryFile from '../reference/ternary.json' with { type: 'json' };
import unaryFile from '../reference/unary.json' with { type: 'json' };

export const referenceFiles: Readonly<Record<string, { readonly family: string }>> = {
  activation: activationFile,
  attention: attentionFile,
  binary: binaryFile,
  convolution: convolutionFile,
  indexing: indexingFile,
  loss: lossFile,
  matmul: matmulFile,
  normalization: normalizationFile,
  padding: paddingFile,
  pooling: poolingFile,
  promotion: promotionFile,
  reduction: reductionFile,
  resizing: resizingFile,
  scan: scanFile,
  shape: shapeFile,
  sorting: sortingFile,
  ternary: ternaryFile,
  unary: unaryFile,
};
