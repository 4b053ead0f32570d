// Search in texts.js: pages ranked by how much they say about the words, each with an excerpt.
// No server is asked, so that it works in a folder as well.
"use strict";

// every word up to its last letters: "generators" finds "generator", if not as well as itself
const wordsOf = (text) => text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) || [];
const stem = (word) => (word.length > 4 ? word.replace(/(ies|es|s|ing|ed)$/u, "") : word);
const fits = (word, asked) =>
  word === asked ? 1 : asked.length > 2 && word.startsWith(stem(asked)) ? 0.4 : 0;

const sections = texts.map(([page, heading, address, text]) => {
  const words = wordsOf(text);
  return { page, heading, address, text, words, title: wordsOf(`${page} ${heading}`) };
});
const usual = sections.reduce((sum, part) => sum + part.words.length, 0) / sections.length;

// BM25 (Robertson, Zaragoza 2009), a word of a heading counting as five in the text
const scoresOf = (query) => {
  const terms = [...new Set(wordsOf(query))];
  const found = sections.map((part) => ({ part, score: 0, terms: 0 }));
  for (const term of terms) {
    const counts = sections.map(({ words, title }) => {
      const count = (list) => list.reduce((sum, word) => sum + fits(word, term), 0);
      return count(words) + 5 * count(title);
    });
    const where = counts.filter(Boolean).length;
    const rare = Math.log(1 + (sections.length - where + 0.5) / (where + 0.5));
    counts.forEach((count, i) => {
      if (!count) return;
      const long = 0.25 + (0.75 * sections[i].words.length) / usual;
      found[i].score += (rare * count * 2.2) / (count + 1.2 * long);
      found[i].terms += 1;
    });
  }
  // a solution gives away what its chapter asks: after it
  for (const one of found) if (one.part.address.includes("/solutions/")) one.score /= 2;
  return [terms.map(stem), found.filter((one) => one.score)];
};

// the stretch of a text with most of the terms
const excerpt = (text, terms) => {
  const hit = new RegExp(`(?<![\\p{L}\\p{N}_])(${terms.join("|")})[\\p{L}\\p{N}_]*`, "giu");
  const places = [...text.matchAll(hit)].map((match) => match.index);
  let best = 0, most = 0;
  for (const place of places) {
    const near = places.filter((other) => other >= place && other < place + 200).length;
    if (near > most) [best, most] = [place, near];
  }
  const start = best < 60 ? 0 : text.indexOf(" ", best - 60) + 1;
  const piece = text.slice(start, start + 240).replace(/\s\S*$/u, "");
  const line = document.createElement("p");
  let end = 0;
  line.append(start ? "... " : "");
  for (const match of piece.matchAll(hit)) {
    const mark = document.createElement("mark");
    mark.textContent = match[0];
    line.append(piece.slice(end, match.index), mark);
    end = match.index + match[0].length;
  }
  line.append(piece.slice(end), start + 240 < text.length ? " ..." : "");
  return line;
};

const query = new URLSearchParams(location.search).get("q") || "";
document.querySelectorAll('input[name="q"]').forEach((input) => (input.value = query));
if (wordsOf(query).length) {
  const [terms, found] = scoresOf(query);
  // the pages that know most of the words first; of every page its best section
  found.sort((a, b) => b.terms - a.terms || b.score - a.score);
  const pages = new Map();
  for (const one of found) if (!pages.has(one.part.page)) pages.set(one.part.page, one);
  const list = document.createElement("ol");
  for (const { part } of pages.values()) {
    const item = list.appendChild(document.createElement("li"));
    const link = item.appendChild(document.createElement("a"));
    link.href = part.address;
    link.textContent = part.page === part.heading ? part.page : `${part.page}: ${part.heading}`;
    item.append(excerpt(part.text, terms));
  }
  const said = document.createElement("p");
  said.setAttribute("role", "status");
  said.textContent = pages.size
    ? `${pages.size} pages say something about "${query}".`
    : `No page says anything about "${query}".`;
  document.getElementById("search-results").append(said, list);
}
