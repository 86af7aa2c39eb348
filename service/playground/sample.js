// What the page starts with: the question of the README over five of its documents.

const DOCUMENTS = [
  "The Brooklyn Bridge crosses the East River between Manhattan and Brooklyn. It opened on May 24, 1883, after " +
    "fourteen years of work. Its main span of 486 metres was the longest in the world until 1890. The towers are " +
    "built of limestone, granite and cement in a neo-Gothic style.",
  "Washington Roebling became chief engineer after his father's death. In 1872 he was disabled by caisson " +
    "disease, which he caught while working under compressed air. From then on he watched the site through a " +
    "telescope from his house in Brooklyn Heights and could not visit it.",
  "When her husband fell ill, Emily Warren Roebling took over the day-to-day supervision of the Brooklyn " +
    "Bridge. She studied mathematics, the strength of materials and cable construction, and carried instructions " +
    "between her husband and the assistant engineers for eleven years. In 1883 she was the first to cross the " +
    "bridge by carriage, carrying a rooster as a sign of victory.",
  "Caisson disease, now called decompression sickness, is caused by gas bubbles that form in the blood when " +
    "pressure falls too fast. Workers who left compressed-air caissons suffered joint pain, paralysis and " +
    "sometimes death. Slow decompression prevents it.",
  "The Golden Gate Bridge links San Francisco to Marin County. It opened in 1937. Joseph Strauss was its chief " +
    "engineer, and Charles Ellis did much of the structural calculation without credit. Its colour is called " +
    "international orange.",
];

export const SAMPLE = {
  question: "Who took over the supervision of the Brooklyn Bridge when Washington Roebling fell ill, and what did she " +
    "study for it?",
  documents: DOCUMENTS.join("\n---\n"),
  recipe: "token.v1",
  unit: "",
  reader: "",
  kind: "rate",
  value: 0.3,
};
