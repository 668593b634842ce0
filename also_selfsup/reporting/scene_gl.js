// Layers on the graphics card: squares of a size in metres, and lit meshes.

const VERTEX = `#version 300 es
layout(location = 0) in vec3 pos; layout(location = 1) in vec3 rgb; layout(location = 2) in vec3 normal;
uniform mat4 matrix; uniform float size, pixels; out vec3 colour, place, side;
void main() {
  gl_Position = matrix * vec4(pos, 1.0);
  gl_PointSize = clamp(size * pixels / gl_Position.w, 1.5, 64.0);
  colour = rgb; place = pos; side = normal;
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec3 colour, place, side; uniform vec3 eye; uniform bool lit; out vec4 shown;
void main() {
  float light = 1.0;
  if (lit) {
    vec3 n = normalize(side + vec3(1e-6)), view = normalize(eye - place);
    light = 0.35 + 0.5 * abs(dot(n, view)) + 0.25 * abs(dot(n, normalize(vec3(0.4, 0.25, 0.88))));
  }
  shown = vec4(colour * light, 1.0);
}`;

class Renderer {
  constructor(canvas) {
    this.canvas = canvas;
    const gl = this.gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
    if (!gl) throw new Error("This browser has no WebGL 2; try a newer one, or turn hardware acceleration on.");
    this.program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(this.program));
    gl.useProgram(this.program);
    gl.enable(gl.DEPTH_TEST);
    this.at = (name) => gl.getUniformLocation(this.program, name);
    this.layers = [];
  }

  // layer: name, pos (Float32Array), colours by way (Uint8Array), triangles (Uint32Array or null), size, shown.
  add(layer) {
    const gl = this.gl, array = gl.createVertexArray();
    gl.bindVertexArray(array);
    this.attribute(0, layer.pos, gl.FLOAT, false);
    if (layer.triangles) {
      this.attribute(2, normalsOf(layer.pos, layer.triangles), gl.BYTE, true);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, layer.triangles, gl.STATIC_DRAW);
    }
    const buffers = {};
    for (const [way, rgb] of Object.entries(layer.colours)) buffers[way] = this.attribute(1, rgb, gl.UNSIGNED_BYTE, true);
    this.layers.push({ ...layer, array, buffers, count: layer.triangles ? layer.triangles.length : layer.pos.length / 3 });
  }

  attribute(place, values, kind, normalised) {
    const gl = this.gl, buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, 3, kind, normalised, 0, 0);
    return buffer;
  }

  colourBy(way) {
    const gl = this.gl;
    for (const layer of this.layers) {
      gl.bindVertexArray(layer.array);
      gl.bindBuffer(gl.ARRAY_BUFFER, layer.buffers[way] ?? Object.values(layer.buffers)[0]);
      gl.vertexAttribPointer(1, 3, gl.UNSIGNED_BYTE, true, 0, 0);
    }
  }

  // covered: pixels at the left that the panel hides; the picture's middle moves away from them.
  draw(camera, background, covered) {
    const gl = this.gl, canvas = this.canvas, ratio = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(...background, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniformMatrix4fv(this.at("matrix"), false, camera.matrix(canvas.width / canvas.height, covered / canvas.clientWidth));
    gl.uniform3fv(this.at("eye"), camera.eye());
    gl.uniform1f(this.at("pixels"), canvas.height / (2 * Math.tan(camera.angle / 2)));
    for (const layer of this.layers.filter((one) => one.shown)) {
      gl.bindVertexArray(layer.array);
      gl.uniform1f(this.at("size"), layer.size);
      gl.uniform1i(this.at("lit"), layer.triangles ? 1 : 0);
      if (layer.triangles) gl.drawElements(gl.TRIANGLES, layer.count, gl.UNSIGNED_INT, 0);
      else gl.drawArrays(gl.POINTS, 0, layer.count);
    }
  }
}
