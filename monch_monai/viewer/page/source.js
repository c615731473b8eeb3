"use strict";
/* Where the page reads results from: this server, or the script that an exported page has beside it. */

class ServedSource {
  async list() {
    return this.json("results.json");
  }

  async open(key) {
    this.root = `results/${key}/`;
    return this.json(this.root + "about.json");
  }

  pictureTile(level, x, y) {
    return `${this.root}picture/${level}/${x}_${y}.jpg`;
  }

  nuclei() {
    return this.json(this.root + "nuclei.json");
  }

  rows() {
    return this.bytes(this.root + "nuclei.bin");
  }

  outlines(level, x, y) {
    return this.bytes(`${this.root}outlines/${level}/${x}_${y}.bin`);
  }

  tissue() {
    return this.json(this.root + "tissue.json");
  }

  numbers(row) {
    return this.json(`${this.root}nuclei/${row}.json`);
  }

  async json(address) {
    return (await this.read(address)).json();
  }

  async bytes(address) {
    return (await this.read(address)).arrayBuffer();
  }

  async read(address) {
    const response = await fetch(address);
    if (!response.ok) throw new Error(await response.text());
    return response;
  }
}

class ExportedSource {
  constructor(data) {
    this.data = data;
  }

  async list() {
    return [{ key: "", name: this.data.name, nuclei: this.data.nuclei.total, missing: false }];
  }

  async open() {
    return this.data;
  }

  pictureTile(level, x, y) {
    return `picture/${level}/${x}_${y}.jpg`;
  }

  async nuclei() {
    return this.data.nuclei;
  }

  async rows() {
    return unpacked(this.data.rows);
  }

  async outlines(level, x, y) {
    const packed = this.data.outlines[`${level}/${x}_${y}`];
    return packed === undefined ? new ArrayBuffer(12) : unpacked(packed);
  }

  async tissue() {
    return this.data.tissue;
  }

  async numbers(row) {
    return this.data.numbers[row] || {};
  }
}

function unpacked(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer;
}
