package trajectory

import "strings"

// tokenWords are 256 words that are one token each after a space: in Qwen2.5's
// vocabulary, where a test counts them, and in those that grew from GPT-4's.
var tokenWords = strings.Fields(`
about above across action active after again agent allow almost along also always amount answer apply
area around array assert author avoid back base basic batch become before begin behind being below
best better block board body book both break bring build button cache call cannot care carry
case cause center chain change check child choice choose class clean clear client close code color
column common config copy core cost could count course cover create custom data date define delete
depend depth design detail device direct does domain double down drive drop during each early easy
edge edit effect either email employ empty enable energy engine enough enter entire entry equal error
event every exact except exist expect extend extra fact factor fail false family fast field figure
file fill filter final find first fixed flag float floor flow focus folder follow force form
format found frame free front full future game given global good graph great green group grow
guide half hand handle happen hard hash have head health heart heavy height help here high
hold home hope host hour house human idea image impact import income index info inner input
insert inside into issue item join keep kernel kind know label large last late later layer
lead learn least leave left length less letter level life light like limit line link list
little live load local lock logic long look loop loss lower main make manage many mark
market master match matter mean media medium member memory menu method middle might mind minor minute
`)
