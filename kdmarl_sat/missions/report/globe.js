// The flights of a run on a globe. The data is the JSON of globe.py, the markup that of template.html.
// Directions are Earth-fixed unit vectors [x, y, z]: x to latitude 0, longitude 0; z to the North Pole.
(() => {
  "use strict";

  const TRAIL_S = 900;
  const TRAIL_STEP_S = 15;
  const GLINT_S = 30; // for so long a fresh image is ringed
  const DAY_S = 86400;
  const SLIDER_STEPS = 500;
  const SLOW_FRAME_MS = 1000; // between two pictures for those who want little motion
  const MOST_ZOOM = 12;
  const LONGEST_LABEL = 18;
  const TILT_DEG = 25; // one looks from the south, and sees that satellites fly above the ground
  const RADIANS = Math.PI / 180;

  const data = JSON.parse(document.getElementById("globe-data").textContent);
  const element = (name) => document.getElementById(`globe-${name}`);
  const view = element("view");
  const canvas = element("canvas");
  const context = canvas.getContext("2d");
  const slider = element("slider");
  const rows = [...element("satellites").rows];
  const choices = [...element("flights").querySelectorAll("label")];
  const littleMotion = window.matchMedia("(prefers-reduced-motion: reduce)");
  const darkPage = window.matchMedia("(prefers-color-scheme: dark)");

  const state = { flight: 0, time: 0, playing: false, speed: 60, follow: 0, zoom: 1, latitude: 0, longitude: 0 };

  // --- the sphere -----------------------------------------------------------------------------------------------

  const unit = (latitude, longitude) => {
    const [a, b] = [latitude * RADIANS, longitude * RADIANS];
    return [Math.cos(a) * Math.cos(b), Math.cos(a) * Math.sin(b), Math.sin(a)];
  };
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const scaled = (a, factor) => a.map((value) => value * factor);
  const blend = (a, b, p, q) => a.map((value, k) => p * value + q * b[k]);
  const latitudeOf = (a) => Math.asin(Math.max(-1, Math.min(1, a[2]))) / RADIANS;
  const longitudeOf = (a) => Math.atan2(a[1], a[0]) / RADIANS;

  // Along the great circle from a (share 0) to b (share 1).
  const slerp = (a, b, share) => {
    const sine = Math.hypot(...cross(a, b));
    const angle = Math.atan2(sine, dot(a, b));
    if (sine < 1e-9) return a;
    return blend(a, b, Math.sin((1 - share) * angle) / sine, Math.sin(share * angle) / sine);
  };

  // The circle of all points so many degrees from a centre, which lies on the right of its direction.
  const circle = (centre, degrees) => {
    const first = cross(centre, Math.abs(centre[2]) < 0.9 ? [0, 0, 1] : [1, 0, 0]);
    const u = scaled(first, 1 / Math.hypot(...first));
    const v = cross(centre, u);
    const [near, far] = [Math.cos(degrees * RADIANS), Math.sin(degrees * RADIANS)];
    return Array.from({ length: 90 }, (_, k) => {
      const angle = -k * 4 * RADIANS;
      return blend(scaled(centre, near), blend(u, v, Math.cos(angle), Math.sin(angle)), 1, far);
    });
  };

  const points = (latitudes, longitudes) => latitudes.map((latitude, k) => unit(latitude, longitudes[k]));
  const land = data.land.map((ring) => {
    const places = [];
    for (let k = 0; k < ring.length; k += 2) places.push(unit(ring[k + 1], ring[k]));
    return places;
  });
  const graticule = [];
  for (let longitude = -180; longitude < 180; longitude += 15) {
    graticule.push(Array.from({ length: 41 }, (_, k) => unit(4 * k - 80, longitude)));
  }
  for (let latitude = -75; latitude <= 75; latitude += 15) {
    graticule.push(Array.from({ length: 91 }, (_, k) => unit(latitude, 4 * k)));
  }

  // --- the flights ----------------------------------------------------------------------------------------------

  const flights = data.flights.map(({ time, tracks, targets: columns }) => {
    const targets = columns.priority.map((priority, k) => ({
      index: k,
      place: unit(columns.latitude[k], columns.longitude[k]),
      priority,
      by: columns.imaged_by[k],
      imaged: columns.imaged_s[k] ?? Infinity, // when
      deliveredBy: columns.delivered_by[k],
      delivered: columns.delivered_s[k] ?? Infinity,
      reachable: columns.reachable[k] === 1,
    }));
    return {
      time,
      tracks: tracks.map((track) => ({ ...track, places: points(track.latitude, track.longitude) })),
      targets,
      largestFirst: [...targets].sort((a, b) => b.priority - a.priority), // in drawing, small ones end on top
    };
  });
  const stations = data.stations.map(({ name, latitude, longitude }) => ({ name, place: unit(latitude, longitude) }));
  const downlinking = data.activities.indexOf("downlinking");
  const end = Math.max(...flights.map((flight) => flight.time.at(-1)));

  // The last sample not after a time, and how far it is on to the next.
  const sampleAt = (flight, time) => {
    let [low, high] = [0, flight.time.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (flight.time[middle] <= time) low = middle;
      else high = middle - 1;
    }
    const next = Math.min(low + 1, flight.time.length - 1);
    const gap = flight.time[next] - flight.time[low];
    return { last: low, next, share: gap > 0 ? Math.max(0, (time - flight.time[low]) / gap) : 0 };
  };
  const placeAt = (track, { last, next, share }) => slerp(track.places[last], track.places[next], share);
  const valueAt = (values, { last, next, share }) => values[last] + share * (values[next] - values[last]);
  const captured = (flight, time, by = null) =>
    flight.targets.reduce(
      (sum, t) => (t.delivered <= time && (by ?? t.deliveredBy) === t.deliveredBy ? sum + t.priority : sum), 0,
    );

  // --- the picture ----------------------------------------------------------------------------------------------

  let colours = {};
  const readColours = () => {
    const style = getComputedStyle(view);
    const names = ["ink", "surface", "sea", "land", "coast", "lines", "night", "sky"];
    colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  };

  // Orthographic, north up: right, up and towards the viewer, in units of the Earth's radius; then in pixels.
  let camera = null;
  const aim = () => {
    const towards = unit(state.latitude - TILT_DEG, state.longitude);
    const right = unit(0, state.longitude + 90);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const radius = 0.45 * Math.min(width, height) * state.zoom;
    // In the middle: the whole globe, and from zoom 2 on the point that the view is turned to.
    const shift = Math.min(1, state.zoom - 1) * radius * Math.sin(TILT_DEG * RADIANS);
    camera = { towards, right, up: cross(towards, right), x: width / 2, y: height / 2 + shift, radius, width, height };
  };
  const seen = (place) => ({ x: dot(place, camera.right), y: dot(place, camera.up), z: dot(place, camera.towards) });
  const hidden = (p) => p.z < 0 && p.x * p.x + p.y * p.y < 1;
  const pixel = (p) => [camera.x + camera.radius * p.x, camera.y - camera.radius * p.y];

  // Lines on or above the ground, without what the Earth hides.
  const traceLine = (places) => {
    let drawing = false;
    for (const place of places) {
      const p = seen(place);
      if (hidden(p)) drawing = false;
      else if (drawing) context.lineTo(...pixel(p));
      else context.moveTo(...pixel(p));
      drawing = !hidden(p);
    }
  };

  // Rings for an even-odd fill: what a ring has on the far side runs along the edge of the disc instead.
  const traceRings = (rings) => {
    context.beginPath();
    for (const ring of rings) {
      let turned = 0; // about the line of sight
      let before = seen(ring.at(-1));
      let angle = Math.atan2(before.y, before.x);
      let started = false;
      const draw = (p) => {
        if (started) context.lineTo(...pixel(p));
        else context.moveTo(...pixel(p));
        started = true;
      };
      const alongEdge = (from, to) => {
        if (!started) context.moveTo(...pixel({ x: Math.cos(from), y: Math.sin(from) })); // arc() alone would join on
        context.arc(camera.x, camera.y, camera.radius, -from, -to, to > from);
        started = true;
      };
      for (const place of ring) {
        const p = seen(place);
        let turn = Math.atan2(p.y, p.x) - angle;
        if (turn > Math.PI) turn -= 2 * Math.PI;
        if (turn < -Math.PI) turn += 2 * Math.PI;
        if (before.z < 0 !== p.z < 0) {
          const share = before.z / (before.z - p.z);
          const [x, y] = [before.x + share * (p.x - before.x), before.y + share * (p.y - before.y)];
          const size = Math.hypot(x, y);
          const rim = { x: x / size, y: y / size };
          let part = Math.atan2(rim.y, rim.x) - angle;
          part -= 2 * Math.PI * Math.round(part / (2 * Math.PI));
          if (p.z < 0) {
            draw(rim);
            alongEdge(angle + part, angle + turn);
          } else {
            alongEdge(angle, angle + part);
            draw(p);
          }
        } else if (p.z < 0) alongEdge(angle, angle + turn);
        else draw(p);
        turned += turn;
        angle += turn;
        before = p;
      }
      context.closePath();
      // A ring that goes round with its inside on the right holds the point opposite to the viewer: all but what
      // is drawn would be it, so the whole disc is added.
      if (turned > Math.PI) {
        context.moveTo(camera.x + camera.radius, camera.y);
        context.arc(camera.x, camera.y, camera.radius, 0, 2 * Math.PI);
      }
    }
  };

  const disc = (x, y, radius) => {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
  };

  const drawEarth = () => {
    const { x, y, radius } = camera;
    const glow = context.createRadialGradient(x, y, radius, x, y, 1.05 * radius);
    glow.addColorStop(0, colours.sky);
    glow.addColorStop(1, `${colours.sky}00`); // the same colour, fully transparent
    context.fillStyle = glow;
    disc(x, y, 1.05 * radius);
    context.fill();
    context.fillStyle = colours.sea;
    disc(x, y, radius);
    context.fill();
    context.lineWidth = 0.8;
    context.fillStyle = colours.land;
    context.strokeStyle = colours.coast;
    traceRings(land);
    context.fill("evenodd");
    context.stroke();
    context.strokeStyle = colours.lines;
    context.beginPath();
    graticule.forEach(traceLine);
    context.stroke();
    const [latitude, longitude] = data.sun;
    const midnight = unit(-latitude, longitude + 180 - (360 * state.time) / DAY_S);
    context.fillStyle = colours.night;
    for (let degrees = 90; degrees >= 72; degrees -= 3) { // from sunset to the end of the astronomical twilight
      traceRings([circle(midnight, degrees)]);
      context.fill("evenodd");
    }
    context.strokeStyle = colours.coast;
    disc(x, y, radius);
    context.stroke();
  };

  const sizeOf = (target) => (0.8 + 2.8 * Math.sqrt(target.priority)) * Math.min(2.4, Math.sqrt(state.zoom));

  const drawTargets = (flight) => {
    for (const target of flight.largestFirst) {
      const p = seen(target.place);
      if (p.z < 0) continue;
      const [x, y] = pixel(p);
      const imaged = target.imaged <= state.time;
      disc(x, y, sizeOf(target));
      context.globalAlpha = target.reachable ? 1 : 0.35;
      const delivered = target.delivered <= state.time;
      const colour = imaged ? data.satellites[target.by].colour : colours.ink;
      context.fillStyle = delivered ? colour : colours.surface;
      context.strokeStyle = delivered ? colours.surface : colour;
      context.lineWidth = delivered ? 0.6 : imaged ? 2 : 1;
      if (target.reachable) context.fill();
      context.stroke();
      if (imaged && state.time - target.imaged < GLINT_S) {
        const age = (state.time - target.imaged) / GLINT_S;
        context.globalAlpha = 1 - age;
        context.strokeStyle = data.satellites[target.by].colour;
        context.lineWidth = 2;
        disc(x, y, sizeOf(target) + 3 + 9 * age);
        context.stroke();
      }
    }
    context.globalAlpha = 1;
  };

  const drawStations = () => {
    context.fillStyle = colours.ink;
    context.strokeStyle = colours.surface;
    context.lineWidth = 1;
    for (const { place } of stations) {
      const p = seen(place);
      if (p.z < 0) continue;
      const [x, y] = pixel(p);
      context.beginPath();
      context.rect(x - 3.5, y - 3.5, 7, 7);
      context.fill();
      context.stroke();
    }
  };

  const boxAround = (left, right, middle, half) => ({ left, right, top: middle - half, bottom: middle + half });
  const apart = (a, b) => a.right < b.left || a.left > b.right || a.bottom < b.top || a.top > b.bottom;
  const shortened = (text) => (text.length > LONGEST_LABEL ? `${text.slice(0, LONGEST_LABEL - 1)}…` : text);

  // Text beside a mark, where it fits and covers none of the boxes taken; else none.
  const writeBeside = (text, x, y, taken) => {
    const width = context.measureText(text).width;
    for (const [left, middle] of [[x + 11, y], [x - 11 - width, y], [x - width / 2, y - 15], [x - width / 2, y + 15]]) {
      const box = boxAround(left - 2, left + width + 2, middle, 8);
      const inside = box.left > 0 && box.right < camera.width && box.top > 0 && box.bottom < camera.height;
      if (!inside || !taken.every((other) => apart(box, other))) continue;
      taken.push(box);
      context.lineWidth = 3;
      context.lineJoin = "round";
      context.strokeStyle = colours.surface;
      context.strokeText(text, left, middle);
      context.fillStyle = colours.ink;
      context.fillText(text, left, middle);
      return;
    }
  };

  const aloft = (place) => scaled(place, data.radius);

  const drawTrail = (flight, n) => {
    const at = (time) => aloft(placeAt(flight.tracks[n], sampleAt(flight, time)));
    const start = Math.max(0, state.time - TRAIL_S);
    context.strokeStyle = data.satellites[n].colour;
    context.lineWidth = 1.8;
    let older = at(start);
    for (let time = start; time < state.time; time += TRAIL_STEP_S) {
      const newer = at(Math.min(time + TRAIL_STEP_S, state.time));
      context.globalAlpha = 0.9 - (0.8 * (state.time - time)) / TRAIL_S;
      context.beginPath();
      traceLine([older, newer]);
      context.stroke();
      older = newer;
    }
    context.globalAlpha = 1;
  };

  const whereIs = (flight, n) => {
    const sample = sampleAt(flight, state.time);
    return { place: placeAt(flight.tracks[n], sample), sample };
  };

  // Down to the ground point, and to the target it is after.
  const drawAims = (flight, n) => {
    const { place, sample } = whereIs(flight, n);
    const [satellite, ground] = [seen(aloft(place)), seen(place)];
    if (hidden(satellite)) return;
    context.strokeStyle = data.satellites[n].colour;
    if (ground.z > 0) {
      const [x, y] = pixel(ground);
      context.lineWidth = 1.2;
      context.beginPath();
      context.moveTo(...pixel(satellite));
      context.lineTo(x, y);
      context.moveTo(x - 4, y);
      context.lineTo(x + 4, y);
      context.stroke();
    }
    const target = flight.targets[flight.tracks[n].pursued[sample.last]];
    if (target && seen(target.place).z > 0) {
      const [x, y] = pixel(seen(target.place));
      context.lineWidth = 2.2;
      context.setLineDash([5, 3]);
      context.beginPath();
      context.moveTo(...pixel(satellite));
      context.lineTo(x, y);
      context.stroke();
      context.setLineDash([]);
      disc(x, y, sizeOf(target) + 2);
      context.stroke();
    }
  };

  // While it downlinks, to the station that sees it highest, if any does.
  const drawDownlink = (flight, n) => {
    const { place, sample } = whereIs(flight, n);
    if (flight.tracks[n].action[sample.last] !== downlinking || hidden(seen(aloft(place)))) return;
    const sineOfElevation = (station) => {
      const line = blend(aloft(place), station.place, 1, -1);
      return dot(line, station.place) / Math.hypot(...line);
    };
    const [highest] = [...stations].sort((a, b) => sineOfElevation(b) - sineOfElevation(a));
    if (!highest || sineOfElevation(highest) < 0) return;
    context.strokeStyle = data.satellites[n].colour;
    context.lineWidth = 2.2;
    context.beginPath();
    traceLine([aloft(place), highest.place]);
    context.stroke();
  };

  // Returns where it is on the canvas, or null where the Earth hides it.
  const drawSatellite = (flight, n) => {
    const { place, sample } = whereIs(flight, n);
    const satellite = seen(aloft(place));
    if (hidden(satellite)) return null;
    const lost = flight.tracks[n].action[sample.last] < 0;
    context.fillStyle = lost ? colours.surface : data.satellites[n].colour;
    context.strokeStyle = lost ? data.satellites[n].colour : colours.surface;
    context.lineWidth = 2;
    disc(...pixel(satellite), 6.5);
    context.fill();
    context.stroke();
    return pixel(satellite);
  };

  const draw = () => {
    const flight = flights[state.flight];
    if (state.follow >= 0) {
      const { place } = whereIs(flight, state.follow);
      state.latitude = latitudeOf(place);
      state.longitude = longitudeOf(place);
    }
    aim();
    context.setTransform(window.devicePixelRatio, 0, 0, window.devicePixelRatio, 0, 0);
    context.clearRect(0, 0, camera.width, camera.height);
    context.font = "600 12px system-ui, sans-serif";
    context.textBaseline = "middle";
    drawEarth();
    drawTargets(flight);
    flight.tracks.forEach((_, n) => drawTrail(flight, n));
    drawStations();
    flight.tracks.forEach((_, n) => drawAims(flight, n));
    flight.tracks.forEach((_, n) => drawDownlink(flight, n));
    const marks = flight.tracks.map((_, n) => drawSatellite(flight, n));
    const taken = marks.filter(Boolean).map(([x, y]) => boxAround(x - 7, x + 7, y, 7));
    const { offsetLeft, offsetTop, offsetHeight } = element("in").parentElement;
    taken.push(boxAround(offsetLeft, camera.width, offsetTop + offsetHeight / 2, offsetHeight / 2));
    marks.forEach((mark, n) => mark && writeBeside(shortened(data.satellites[n].name), ...mark, taken));
  };

  // --- the words ------------------------------------------------------------------------------------------------

  const two = (value) => String(value).padStart(2, "0");
  const clock = (seconds) => {
    const whole = Math.floor(seconds + 1e-6);
    const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
    return (end < 3600 ? "" : `${hours}:`) + `${two(minutes)}:${two(whole % 60)}`;
  };
  const percent = (fraction) => `${Math.round(100 * fraction)}\u202f%`;
  const show = (place, text) => {
    if (place.textContent !== text) place.textContent = text; // else layout and screen readers work for nothing
  };

  const tell = () => {
    const flight = flights[state.flight];
    const sample = sampleAt(flight, state.time);
    show(element("clock"), `${clock(state.time)} of ${clock(end)}`);
    const date = new Date(Date.parse(data.epoch) + 1000 * state.time).toISOString();
    show(element("date"), `${date.slice(0, 10)} ${date.slice(11, 19)} UTC`);
    slider.value = String(Math.round((SLIDER_STEPS * state.time) / (end || 1)));
    slider.setAttribute("aria-valuetext", `${clock(state.time)} of ${clock(end)}`);
    const most = Math.max(...flights.map((f) => captured(f, end)));
    choices.forEach((choice, f) => {
      const [soFar, whole] = [captured(flights[f], state.time), captured(flights[f], end)];
      show(choice.querySelector(".globe-captured"), `${soFar.toFixed(1)} of ${whole.toFixed(1)}`);
      choice.querySelector(".globe-whole").style.width = `${(100 * whole) / (most || 1)}%`;
      choice.querySelector(".globe-part").style.width = `${(100 * soFar) / (most || 1)}%`;
    });
    rows.forEach((row, n) => {
      const track = flight.tracks[n];
      const [, doing, battery, storage, earned] = row.cells;
      const action = track.action[sample.last];
      const pursued = track.pursued[sample.last];
      const activity = action < 0 ? "lost" : data.activities[action];
      show(doing.firstElementChild, pursued < 0 || action < 0 ? activity : `${activity} target ${pursued}`);
      show(doing.lastElementChild, track.sunlit[sample.last] ? "in sunlight" : "in eclipse");
      for (const [cell, values] of [[battery, track.battery], [storage, track.storage]]) {
        const value = valueAt(values, sample);
        show(cell.firstElementChild, percent(value));
        cell.querySelector(".globe-part").style.width = `${100 * value}%`;
      }
      show(earned, captured(flight, state.time, n).toFixed(1));
    });
  };

  // --- the controls ---------------------------------------------------------------------------------------------

  let asked = false;
  const refresh = () => { // at most once for a picture of the screen
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
      tell();
    });
  };

  let lastFrame = 0;
  const play = (now) => {
    if (!state.playing) return;
    const elapsed = now - lastFrame;
    if (!littleMotion.matches || elapsed >= SLOW_FRAME_MS) {
      lastFrame = now;
      state.time = Math.min(end, state.time + (Math.min(elapsed, SLOW_FRAME_MS) / 1000) * state.speed);
      refresh();
      if (state.time >= end) setPlaying(false);
    }
    requestAnimationFrame(play);
  };
  const setPlaying = (playing) => {
    if (playing && state.time >= end) state.time = 0;
    state.playing = playing;
    show(element("play"), playing ? "Pause" : "Play");
    lastFrame = performance.now();
    if (playing) requestAnimationFrame(play);
    refresh();
  };
  const zoomBy = (factor) => {
    state.zoom = Math.max(1, Math.min(MOST_ZOOM, state.zoom * factor));
    refresh();
  };
  const turnBy = (right, down) => { // in pixels at the middle of the disc
    state.follow = -1;
    element("follow").value = "-1";
    state.longitude -= right / camera.radius / RADIANS;
    state.latitude = Math.max(-90, Math.min(90, state.latitude + down / camera.radius / RADIANS));
    refresh();
  };

  const pointers = new Map(); // down now: id -> [x, y]
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  canvas.addEventListener("pointermove", (event) => {
    const from = pointers.get(event.pointerId);
    if (!from) {
      pointAt(event);
      return;
    }
    const before = pointers.size === 2 ? spread() : 0;
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (pointers.size === 1) turnBy(event.clientX - from[0], event.clientY - from[1]);
    else if (before) zoomBy(spread() / before);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => pointers.delete(event.pointerId));
  }
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey) return; // else the page could not be scrolled past it
      event.preventDefault();
      zoomBy(Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 500))); // with control: a pinch on a trackpad
    },
    { passive: false },
  );
  canvas.addEventListener("keydown", (event) => {
    const turns = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    const zooms = { "+": 1.3, "=": 1.3, "-": 1 / 1.3 };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (turns[event.key]) turnBy(...turns[event.key]);
    else if (zooms[event.key]) zoomBy(zooms[event.key]);
    else return;
    event.preventDefault();
  });

  // What is known of the target under the pointer.
  const pointAt = (event) => {
    const box = canvas.getBoundingClientRect();
    let [nearest, least] = [null, 12];
    for (const target of flights[state.flight].targets) {
      const p = seen(target.place);
      const [x, y] = pixel(p);
      const away = Math.hypot(x - (event.clientX - box.left), y - (event.clientY - box.top));
      if (p.z > 0 && away < least) [nearest, least] = [target, away];
    }
    if (!nearest) {
      show(element("pointed"), "");
      return;
    }
    const downlinked = nearest.delivered === nearest.imaged ? "" : Number.isFinite(nearest.delivered)
      ? `, delivered by ${data.satellites[nearest.deliveredBy].name} at ${clock(nearest.delivered)}`
      : ", never delivered";
    const fate = Number.isFinite(nearest.imaged)
      ? `imaged by ${data.satellites[nearest.by].name} at ${clock(nearest.imaged)}${downlinked}`
      : nearest.reachable ? "never imaged" : "out of reach";
    show(element("pointed"), `target ${nearest.index}, priority ${nearest.priority.toFixed(2)}, ${fate}`);
  };

  element("in").addEventListener("click", () => zoomBy(1.4));
  element("out").addEventListener("click", () => zoomBy(1 / 1.4));
  element("play").addEventListener("click", () => setPlaying(!state.playing));
  element("speed").addEventListener("change", (event) => { state.speed = Number(event.target.value); });
  element("follow").addEventListener("change", (event) => {
    state.follow = Number(event.target.value);
    refresh();
  });
  element("flights").addEventListener("change", (event) => {
    state.flight = Number(event.target.value);
    refresh();
  });
  slider.addEventListener("input", () => {
    state.time = (end * Number(slider.value)) / SLIDER_STEPS;
    refresh();
  });
  view.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.target.matches("button, select")) return; // there, space has its own meaning
    event.preventDefault();
    setPlaying(!state.playing);
  });
  darkPage.addEventListener("change", () => {
    readColours();
    refresh();
  });
  new ResizeObserver(() => {
    canvas.width = Math.round(canvas.clientWidth * window.devicePixelRatio);
    canvas.height = Math.round(canvas.clientHeight * window.devicePixelRatio);
    readColours();
    refresh();
  }).observe(canvas);
})();
