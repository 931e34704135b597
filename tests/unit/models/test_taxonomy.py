from models.taxonomy import ATYPICAL, BLAST, CODES, INDEX, NAMES, NOT_IN_DIFFERENTIAL


def test_codes_stand_in_the_order_of_the_design():
    assert " ".join(CODES) == "BAS EBO EOS KSC LYA LYT MMZ MOB MON MYB MYO NGB NGS PMB PMO"


def test_myo_is_the_myeloblast_and_myb_the_myelocyte():
    assert NAMES[CODES[INDEX["MYO"]]] == "myeloblast"
    assert NAMES[CODES[INDEX["MYB"]]] == "myelocyte"


def test_groups_are_those_of_the_paper():
    assert BLAST == {"MYO", "MOB"}
    assert ATYPICAL == {"MYO", "MOB", "MYB", "MMZ", "PMO", "PMB", "EBO", "LYA"}
    assert NOT_IN_DIFFERENTIAL == {"EBO", "KSC"}


def test_every_code_has_a_name():
    assert set(NAMES) == set(CODES)
