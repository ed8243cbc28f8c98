/** Width and height from the header of a picture file, without decoding it. */

export interface ImageSize {
  readonly format: 'PNG' | 'JPEG' | 'GIF' | 'BMP' | 'WebP' | 'AVIF';
  readonly width: number;
  readonly height: number;
}

const ascii = (bytes: Uint8Array, at: number, text: string): boolean => {
  if (at + text.length > bytes.length) return false;
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
  return true;
};

/** The size that the header names; null when the format is not known or the header is cut off. */
export function imageSize(bytes: Uint8Array): ImageSize | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length >= 24 && view.getUint32(0) === 0x89504e47 && ascii(bytes, 12, 'IHDR')) {
    return { format: 'PNG', width: view.getUint32(16), height: view.getUint32(20) };
  }
  if (bytes.length >= 4 && view.getUint16(0) === 0xffd8) return jpegSize(view);
  if (bytes.length >= 10 && ascii(bytes, 0, 'GIF8')) {
    return { format: 'GIF', width: view.getUint16(6, true), height: view.getUint16(8, true) };
  }
  if (bytes.length >= 26 && ascii(bytes, 0, 'BM')) {
    return { format: 'BMP', width: Math.abs(view.getInt32(18, true)), height: Math.abs(view.getInt32(22, true)) };
  }
  if (bytes.length >= 30 && ascii(bytes, 0, 'RIFF') && ascii(bytes, 8, 'WEBP')) return webpSize(bytes, view);
  if (bytes.length >= 12 && ascii(bytes, 4, 'ftyp')) return avifSize(bytes, view);
  return null;
}

/** Walks the markers to the frame header (SOF0 to SOF15 without DHT, JPG, DAC). */
function jpegSize(view: DataView): ImageSize | null {
  let at = 2;
  while (at + 9 <= view.byteLength) {
    if (view.getUint8(at) !== 0xff) return null;
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at++;
      continue;
    }
    if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
      return { format: 'JPEG', height: view.getUint16(at + 5), width: view.getUint16(at + 7) };
    }
    // Markers without a segment: TEM and the restarts.
    at += marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8) ? 2 : 2 + view.getUint16(at + 2);
  }
  return null;
}

function webpSize(bytes: Uint8Array, view: DataView): ImageSize | null {
  if (ascii(bytes, 12, 'VP8 ')) {
    return { format: 'WebP', width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
  }
  if (ascii(bytes, 12, 'VP8L')) {
    const bits = view.getUint32(21, true);
    return { format: 'WebP', width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
  }
  if (ascii(bytes, 12, 'VP8X')) {
    const three = (at: number): number => view.getUint16(at, true) + (view.getUint8(at + 2) << 16);
    return { format: 'WebP', width: three(24) + 1, height: three(27) + 1 };
  }
  return null;
}

/** The largest `ispe` (image spatial extents) property in the first 64 KiB. */
function avifSize(bytes: Uint8Array, view: DataView): ImageSize | null {
  if (!ascii(bytes, 8, 'avif') && !ascii(bytes, 8, 'avis') && !ascii(bytes, 8, 'mif1')) return null;
  let found: ImageSize | null = null;
  const end = Math.min(bytes.length, 1 << 16) - 16;
  for (let at = 12; at <= end; at++) {
    if (!ascii(bytes, at, 'ispe')) continue;
    const width = view.getUint32(at + 8);
    const height = view.getUint32(at + 12);
    if (!found || width * height > found.width * found.height) found = { format: 'AVIF', width, height };
  }
  return found;
}
