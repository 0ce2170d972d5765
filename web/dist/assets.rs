// Written by web/build.mjs.
const INDEX: &str = include_str!("index.html");
static ASSETS: [Asset; 4] = [
    Asset { name: "icon.svg", bytes: include_bytes!("icon.svg") },
    Asset { name: "main-MCTIWHBV.css", bytes: include_bytes!("main-MCTIWHBV.css") },
    Asset { name: "main-N3MHND63.js", bytes: include_bytes!("main-N3MHND63.js") },
    Asset { name: "worklet-EU2RFYQN.js", bytes: include_bytes!("worklet-EU2RFYQN.js") },
];
