"""The words of the seeded community."""

from __future__ import annotations

# fmt: off
NAMES = (
    "ada", "grace", "linus", "margaret", "tove", "olaf", "noor", "jules", "mira", "kofi",
    "ines", "tariq", "yuki", "pablo", "saoirse", "anouk", "bram", "chidi", "digest-bot", "zoe",
)

COMMUNITIES = (
    ("gardening", "Kitchen gardening", "Beds, pots and window sills: what grows, and what eats it.", (
        "First tomatoes of the year", "Slugs: what has worked for you?", "Sowing calendar for a cold spring",
        "Is this blight?", "Compost that does not smell", "Beans up strings or up poles?",
        "Rain barrel without a downpipe", "Moving strawberries in autumn", "Peat-free soil compared",
        "Garlic planted far too late", "A greenhouse from old windows", "Seed swap in March",
    )),
    ("cycling", "Everyday cycling", "Getting about by bicycle in all weather.", (
        "Studded tyres: worth it in town?", "Route along the canal is open again", "Best lights under forty",
        "Commute of 18 km: shower or not?", "Squeaking disc brakes", "Cargo bike for two children",
        "A chain lasts how long?", "Winter gloves that still brake", "Hills with a three-speed hub",
        "New counter on the bridge", "Mudguards that fit wide tyres", "Registering frames against theft",
    )),
    ("baking", "Bread and baking", "Flour, water, salt and patience.", (
        "Rye starter went grey", "Baking in a pot: lid on until when?", "Oven spring with a weak oven",
        "Cinnamon knots for a crowd", "How wet is too wet?", "Old bread: eight uses",
        "Malt or honey in the dough", "Baguettes without a special tray", "Scales that show tenths",
        "Gluten-free that holds together", "Cold proof for three days", "Crumb is gummy, crust is perfect",
    )),
    ("retro-computing", "Retro computing", "Machines older than their users, kept alive.", (
        "Recapping a monitor board", "Floppy images: which format lasts?", "Yellowed cases, gently",
        "A serial terminal from a charity shop", "Writing a game in 4 kilobytes", "Cleaning keyboard foam",
        "Memory test that runs from ROM", "Tape loading under noise", "Replacing a dead clock battery",
        "Network card for an 8-bit bus", "Best assembler with macros", "Museum evening: bring your own",
    )),
    ("film-photography", "Film photography", "Silver halides and waiting to see.", (
        "Developer for pushed film", "Light leak or shutter curtain?", "Scanning with a camera and a stand",
        "Meter apps against a spot meter", "Cheap medium format to start with", "Dust, my old friend",
        "Contact sheets again", "Expired colour film from a drawer", "Stand development: an hour of nothing",
        "Fixer: how do you test it?", "Portraits at 1/15 by hand", "Darkroom in a bathroom",
    )),
)
# fmt: on

BODIES = (
    "I have tried this for two seasons now and would like to compare notes.",
    "Pictures will follow once the light is better.",
    "The short version: it works, but not the way the label says.",
    "I kept a log of every step, so ask if a number is missing.",
    "My neighbour swears by the opposite, of course.",
    "It cost me an afternoon and about twelve in coins.",
    "What would you do differently?",
    "Be gentle, this is my first attempt.",
    "There is an older thread about this, but half of its links are gone.",
    "I am not selling anything, just pleased.",
)

COMMENTS = (
    "Same here, and it took me a year to notice.",
    "Thank you, that settles an argument at home.",
    "Have you tried it the other way round?",
    "Which brand was it? There are two that look alike.",
    "I would wait another week before deciding.",
    "Lovely. More pictures, please.",
    "This worked at the first attempt, thanks!",
    "Careful: mine broke after a month of that.",
    "There is a chapter on this in the library's old handbook.",
    "Could a moderator pin this?",
    "I keep coming back to this thread.",
    "Not my experience at all, but the climate here is different.",
)
