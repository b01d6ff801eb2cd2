"""The words that problems are made of. Few and common, so that a vocabulary of a thousand tokens holds them whole."""

NAMES = tuple(
    (
        "Ada Amir Anna Ben Bob Carl Chen Cleo Dan Dora Emma Eric Eva Finn Gina Hugo Ines Ivan Jack Jane Kim Lars "
        "Lena Leo Lisa Luis Maria Max Mia Nina Noah Olga Omar Paul Rosa Sam Sara Tara Tom Yuki"
    ).split()
)

OBJECTS = tuple("ball bell book boot bowl coat cup drum fork hat key lamp pen ring rope sock".split())

COLOURS = tuple("red blue green white black pink gray gold brown silver orange violet".split())

WORDS = tuple(
    (
        "apple arm bag bank barn bath beach bird bread bridge brush butter cake camel car cat chair cheese city clock "
        "cloud corn crab desk dog door dream eagle east egg farm field fish flag flower fox frog garden ghost glass "
        "goat grass hand hill horse house ice island jam jar jazz king kiwi lake leaf lemon lion map melon milk moon "
        "mouse mud music nail nest night north oak ocean onion oven owl paper park path pearl piano pig plum pond "
        "quiz radio rain river road roof root salt sand sea seed sheep ship shop snow soap song spoon star steam "
        "stone sun swan table taxi tea tent tiger tooth town train tree truck tub wagon wall water web whale wheel "
        "wind wolf wood wool worm yard zoo"
    ).split()
)
