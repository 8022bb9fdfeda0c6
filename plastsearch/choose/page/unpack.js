// The page's data: base64 → zlib → JSON. Browsers before 2023 have no DecompressionStream, so they unpack by hand.

function bytesOf(text) {
  const signs = atob(text), found = new Uint8Array(signs.length);
  for (let at = 0; at < signs.length; at++) found[at] = signs.charCodeAt(at);
  return found;
}

async function unpacked(text) {
  const packed = bytesOf(text);
  if (typeof DecompressionStream === "undefined") return JSON.parse(new TextDecoder().decode(inflated(packed)));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

const LENGTHS = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
const LENGTH_BITS = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const FAR = [1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577];
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

// RFC 1951 behind the two bytes of RFC 1950; code by code, which is enough for some megabytes.
function inflated(packed) {
  let at = 2, bits = 0, held = 0, size = 0, out = new Uint8Array(packed.length * 8);
  const take = count => {
    while (held < count) { bits |= packed[at++] << held; held += 8; }
    const found = bits & ((1 << count) - 1);
    bits >>>= count; held -= count;
    return found;
  };
  const room = more => {
    if (size + more <= out.length) return;
    const larger = new Uint8Array(2 * (size + more));
    larger.set(out);
    out = larger;
  };
  const book = lengths => {
    const counts = new Uint16Array(16), first = new Uint16Array(16), signs = new Uint16Array(lengths.length);
    for (const length of lengths) counts[length]++;
    counts[0] = 0;
    for (let n = 1; n < 16; n++) first[n] = first[n - 1] + counts[n - 1];
    lengths.forEach((length, sign) => { if (length) signs[first[length]++] = sign; });
    return { counts, signs };
  };
  const read = ({ counts, signs }) => {
    let code = 0, low = 0, index = 0;
    for (let length = 1; length < 16; length++) {
      code |= take(1);
      if (code - low < counts[length]) return signs[index + code - low];
      index += counts[length];
      low = (low + counts[length]) << 1;
      code <<= 1;
    }
    throw new Error("the page's data is damaged");
  };
  const fixed = [book([...Array(288).keys()].map(n => n < 144 ? 8 : n < 256 ? 9 : n < 280 ? 7 : 8)), book(Array(30).fill(5))];
  const own = () => {
    const signs = take(5) + 257, far = take(5) + 1, count = take(4) + 4, small = Array(19).fill(0), lengths = [];
    for (let n = 0; n < count; n++) small[ORDER[n]] = take(3);
    const codes = book(small);
    while (lengths.length < signs + far) {
      const sign = read(codes);
      if (sign < 16) { lengths.push(sign); continue; }
      const value = sign === 16 ? lengths[lengths.length - 1] : 0;
      for (let n = sign === 16 ? 3 + take(2) : sign === 17 ? 3 + take(3) : 11 + take(7); n; n--) lengths.push(value);
    }
    return [book(lengths.slice(0, signs)), book(lengths.slice(signs))];
  };
  for (let last = 0; !last;) {
    last = take(1);
    const kind = take(2);
    if (!kind) {
      bits = held = 0;
      const length = packed[at] | packed[at + 1] << 8;
      room(length);
      out.set(packed.subarray(at + 4, at + 4 + length), size);
      size += length; at += 4 + length;
      continue;
    }
    const [signs, distances] = kind === 1 ? fixed : own();
    for (let sign; (sign = read(signs)) !== 256;) {
      room(258);
      if (sign < 256) { out[size++] = sign; continue; }
      const length = LENGTHS[sign - 257] + take(LENGTH_BITS[sign - 257]), far = read(distances);
      const back = FAR[far] + take(far < 4 ? 0 : (far >> 1) - 1);
      for (let n = 0; n < length; n++, size++) out[size] = out[size - back];
    }
  }
  return out.subarray(0, size);
}

