// Matrices of 16 numbers, column by column, and the camera that turns around a target, z up.

function multiply(a, b) {
  const out = new Float32Array(16);
  for (let column = 0; column < 4; column++)
    for (let row = 0; row < 4; row++)
      for (let k = 0; k < 4; k++) out[4 * column + row] += a[4 * k + row] * b[4 * column + k];
  return out;
}

function perspective(angle, aspect, near, far) {
  const f = 1 / Math.tan(angle / 2), d = near - far;
  return new Float32Array([f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) / d, -1, 0, 0, 2 * far * near / d, 0]);
}

class Camera {
  // target: metres; distance: metres; azimuth and elevation: radians, where the eye is seen from the target.
  constructor(target) {
    this.home = target;
    this.angle = 0.7;
    this.reset();
  }

  reset() { this.look(-2.2, 0.62, 44); }
  fromAbove() { this.look(-Math.PI / 2, 1.5697, 58); }
  fromSide() { this.look(-Math.PI / 2, 0.06, 40); }

  look(azimuth, elevation, distance) {
    Object.assign(this, { azimuth, elevation, distance, target: [...this.home] });
  }

  axes() {
    const [ca, sa, ce, se] = [Math.cos(this.azimuth), Math.sin(this.azimuth), Math.cos(this.elevation), Math.sin(this.elevation)];
    return { right: [-sa, ca, 0], up: [-ca * se, -sa * se, ce], back: [ca * ce, sa * ce, se] };
  }

  turn(right, up) {
    this.azimuth -= right;
    this.elevation = Math.max(-1.5697, Math.min(1.5697, this.elevation + up));
  }

  move(right, up) {
    const axes = this.axes();
    for (let i = 0; i < 3; i++) this.target[i] -= this.distance * (right * axes.right[i] + up * axes.up[i]);
  }

  zoom(factor) { this.distance = Math.max(0.5, Math.min(400, this.distance * factor)); }

  eye() {
    const { back } = this.axes();
    return this.target.map((value, i) => value + this.distance * back[i]);
  }

  // shift: of the picture's middle to the right, as a share of half the width.
  matrix(aspect, shift) {
    const { right: r, up: u, back: b } = this.axes(), eye = this.eye();
    const along = (axis) => -(axis[0] * eye[0] + axis[1] * eye[1] + axis[2] * eye[2]);
    const view = new Float32Array([
      r[0], u[0], b[0], 0, r[1], u[1], b[1], 0, r[2], u[2], b[2], 0, along(r), along(u), along(b), 1,
    ]);
    const projection = perspective(this.angle, aspect, this.distance / 60, this.distance * 20 + 200);
    projection[8] = -shift;
    return multiply(projection, view);
  }
}

// Mean direction of the triangles around each vertex, (3 * count) numbers between -127 and 127.
function normalsOf(pos, triangles) {
  const sum = new Float32Array(pos.length), out = new Int8Array(pos.length);
  for (let t = 0; t < triangles.length; t += 3) {
    const [a, b, c] = [3 * triangles[t], 3 * triangles[t + 1], 3 * triangles[t + 2]];
    const u = [0, 1, 2].map((i) => pos[b + i] - pos[a + i]), v = [0, 1, 2].map((i) => pos[c + i] - pos[a + i]);
    const n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    for (const corner of [a, b, c]) for (let i = 0; i < 3; i++) sum[corner + i] += n[i];
  }
  for (let p = 0; p < sum.length; p += 3) {
    const length = Math.hypot(sum[p], sum[p + 1], sum[p + 2]) || 1;
    for (let i = 0; i < 3; i++) out[p + i] = Math.round(127 * sum[p + i] / length);
  }
  return out;
}
