"""Which words find what: a catalogue as the projector writes it, asked as dashboards ask."""

from collections.abc import AsyncIterator
from unicodedata import normalize

import pytest

from deploy.servers.provide import Servers
from projectors.stores.port import Commit
from shared.contracts.orders import Line
from tests import shop
from tests.integration.query_service.searching import Searching, product, searching

NAMES = {
    "scarf": "RED/GREEN SCARF",
    "lamp": "U.S.A. lamp, 1.5 W no_name",
    "lights": "T-LIGHTS HOLDER",
    "kellogg": "Kellogg’s Flakes",
    "creme": "Crème brûlée",
    "decomposed": normalize("NFD", "Crème fraîche"),
    "tea": "有機緑茶ティーバッグ",
    "milk": "서울우유 500ml",
    "sauce": "น้ำปลาแท้",
    "wide": "ＡＢＣ ﾊﾞﾀｰ",
    "danish": "Smørrebrød Straße",
    "jam": "BERRY JAM",
    "knives": "Steak knives",
    "care": "Hair care",
    "mugs": "Jumbo pack of pencils, long and thin, for all mugs",
}
MUGS = {f"mug{number:02}": f"MUG {number:02}, MUG RACK" for number in range(48)}


@pytest.fixture(scope="module")
async def catalogue(servers: Servers) -> AsyncIterator[Searching]:
    async with searching(servers) as store:
        await store.products(NAMES | MUGS)
        customer = shop.run("customers/c-1", shop.registered("c-1", name="Zoë O’Brien-Smith"))
        unnamed = Line(product_id="creme", quantity=1, amount=1)
        lines = {f"o-{key}": Line(product_id=key, name=name, quantity=1, amount=1) for key, name in NAMES.items()}
        orders = {key: shop.placed(key, customer_id="c-2", lines=[line]) for key, line in lines.items()}
        orders["o-zoe"] = shop.placed("o-zoe", customer_id="c-1", lines=[unnamed])
        await store.store.commit(Commit([customer, *(shop.run(f"orders/{key}", one) for key, one in orders.items())]))
        yield store


PRODUCTS = {
    "scarf": ["green", "red", "red/green", "redgreen scarf", "red/gr", '"red green scarf"', "scarves"],
    "lamp": ["usa", "u.s.a.", "u.s.a", "USA lamp", "name", "no_na", "noname", "1.5", "1.5 w", '"1 5"', '"no_name"'],
    "lights": ["t-li", "t-light", "tligh", "t-light holder", "T-LIGHT HOLDERS", "t light", "lig"],
    "kellogg": ["kelloggs", "kellogg", "kellogg's", "flake kellogg’s"],
    "creme": ["creme brulee", "CRÈME brû", normalize("NFD", "crème brûlée"), "creme -fraiche", "creme -FRAÎCHE"],
    "creme decomposed": ["crème", "creme", "crè", normalize("NFD", "Crème"), "crèmes"],
    "tea": ["緑茶", "茶", "ティーバッグ", "ﾃｨｰ", "グ", "緑茶 有機", '"緑茶"'],
    "milk": ["우유", "서울우유", "우유 500m"],
    "sauce": ["น้ำ", "ปลา"],
    "wide": ["abc", "ａｂ", "バター"],
    "danish": ["smorrebrod", "STRASSE", "Straße"],
    "jam": ["berries", "berry"],
    "knives": ["knife", "steaks knives"],
    "care": ["cares", "hair,care", "care hair"],
    "jam lamp": ["jam or usa"],
    "": ["15 w", "茶緑", "car ", '"green red"', '"berries"', '"t light"', '"brulee frai"', "jumbo -mug", "-", "&"],
    " ".join(key for key in NAMES if key != "mugs"): ["goods -mug"],
}
ORDERS = {
    "o-scarf": ["green"],
    "o-lights": ["t-li"],
    "o-tea": ["緑茶"],
    "o-lamp": ["usa 1.5"],
    "o-jam": ["berries", "o-jam"],
    "o-zoe": ["zoe", "ZOE\u0308 obrien", "smith", "o'brien brulee"],
    "o-creme o-zoe": ["creme brulee"],
    "": ['zoe "creme brulee"', "green jam"],
}


@pytest.mark.parametrize(("q", "found"), [(q, found) for found, asked in PRODUCTS.items() for q in asked])
async def test_products_are_found_by_their_words(catalogue: Searching, q: str, found: str) -> None:
    assert sorted(await catalogue.found(q)) == sorted(found.split())


@pytest.mark.parametrize(("q", "found"), [(q, found) for found, asked in ORDERS.items() for q in asked])
async def test_orders_are_found_by_the_same_words(catalogue: Searching, q: str, found: str) -> None:
    assert sorted(await catalogue.found(q, "/search/orders")) == sorted(found.split())


@pytest.mark.parametrize("path", ["/search/products", "/search/orders"])
async def test_the_exact_word_comes_first_and_hides_no_other_form(catalogue: Searching, path: str) -> None:
    orders = path.endswith("orders")
    if orders:
        lines = {key: [Line(product_id="x", name=name, quantity=1, amount=1)] for key, name in MUGS.items()}
        placed = [shop.run(f"orders/o-{key}", shop.placed(f"o-{key}", lines=of)) for key, of in lines.items()]
        await catalogue.store.commit(Commit(placed))
    prefix = "o-" if orders else ""
    for q in ("mugs", "Mugs ", "mugs or x"):
        first, *others = await catalogue.found(q, path)
        assert first == f"{prefix}mugs"
        assert sorted(others) == sorted(prefix + key for key in MUGS)
    found = await catalogue.found("mug", path)
    assert (found[-1], len(found)) == (f"{prefix}mugs", 49)


async def test_an_order_s_whole_id_finds_it_and_not_those_that_begin_with_it(servers: Servers) -> None:
    async with searching(servers) as store:
        ids = ("own-1", "own-10", "own-11", "77", "770")
        await store.store.commit(Commit([shop.run(f"orders/{one}", shop.placed(one)) for one in ids]))
        assert await store.found("own-1", "/search/orders") == ["own-1"]
        assert await store.found("77", "/search/orders") == ["77"]
        assert set(await store.found("own-", "/search/orders")) == {"own-1", "own-10", "own-11"}


async def test_a_word_in_the_name_ranks_above_one_in_the_description(servers: Servers) -> None:
    async with searching(servers) as store:
        told = [product("a", "Shelf", description="for a mug, another mug, and a mug"), product("b", "Big blue mug")]
        await store.store.commit(
            Commit([*told, product("c", "Big blue mugs"), product("d", "Mugshot", brand="mugwump")])
        )
        assert await store.found("mug") == ["b", "d", "c", "a"]


async def test_what_is_renamed_is_found_by_its_new_words_alone(servers: Servers) -> None:
    async with searching(servers) as store:
        await store.store.commit(Commit([product("p-1", "Crème"), shop.run("customers/c-1", shop.registered())]))
        later = [
            shop.run("products/p-1", shop.repriced(), shop.updated(name="Red/green"), expected=1),
            shop.run("customers/c-1", shop.renamed(name="Zoë"), expected=1),
            shop.run("orders/o-1", shop.placed()),
        ]
        await store.store.commit(Commit(later))
        assert (await store.found("green"), await store.found("creme")) == (["p-1"], [])
        assert await store.found("zoe", "/search/orders") == ["o-1"]
        await store.store.commit(Commit([shop.run("products/p-1", shop.repriced(), expected=3)]))
        assert await store.found("green") == ["p-1"]


async def test_the_longest_texts_that_contracts_allow_can_be_indexed(servers: Servers) -> None:
    async with searching(servers) as store:
        ideographs = "".join(map(chr, range(0x20000, 0x20000 + 9_000)))
        names = [f"{i}-{ideographs[i * 8 : i * 8 + 480]}" for i in range(1000)]
        lines = [Line(product_id="p", name=name, quantity=1, amount=1) for name in names]
        long = product("long", ideographs[:500], description=ideographs + "a/b" * 300 + "x" * 100)
        await store.store.commit(Commit([long, shop.run("orders/o-1", shop.placed(lines=lines))]))
        assert await store.found(ideographs[:500]) == ["long"]
        assert await store.found(ideographs[8000:8100]) == ["long"]
        assert await store.found(names[0], "/search/orders") == ["o-1"]
