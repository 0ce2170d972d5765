// Written by web/build.mjs.
const INDEX: &str = include_str!("index.html");
static ASSETS: [Asset; 4] = [
    Asset { name: "icon.svg", bytes: include_bytes!("icon.svg") },
    Asset { name: "main-4IM4JS6Y.js", bytes: include_bytes!("main-4IM4JS6Y.js") },
    Asset { name: "main-MCTIWHBV.css", bytes: include_bytes!("main-MCTIWHBV.css") },
    Asset { name: "worklet-EU2RFYQN.js", bytes: include_bytes!("worklet-EU2RFYQN.js") },
];
