"use strict";
(() => {
  const MOST = 1000; // rows shown at once
  const data = JSON.parse(document.getElementById("schedule-data").textContent);
  const body = document.getElementById("schedule-body");
  const count = document.getElementById("schedule-count");
  const flight = document.getElementById("schedule-flight");
  const target = document.getElementById("schedule-target");
  const choices = [...document.querySelectorAll(".schedule-choice")];
  const column = (name) => data.columns.indexOf(name);

  const fits = (row) =>
    choices.every((choice) => choice.value === "" || String(row[column(choice.dataset.column)]) === choice.value) &&
    String(row[column("target")] ?? "").toLowerCase().includes(target.value.trim().toLowerCase());

  const draw = () => {
    const rows = data.flights[Number(flight.value)];
    const found = rows.filter(fits);
    const shown = found.slice(0, MOST);
    body.replaceChildren(...shown.map((row) => {
      const line = document.createElement("tr");
      for (const value of row) {
        const cell = document.createElement("td");
        cell.className = "word";
        cell.textContent = value === null ? "" : String(value);
        line.append(cell);
      }
      return line;
    }));
    const more = found.length > MOST ? `, the first ${MOST} shown` : "";
    count.textContent = `${found.length} of ${rows.length} tasks${more}`;
  };

  for (const control of [flight, target, ...choices]) control.addEventListener("input", draw);
  draw();
})();
