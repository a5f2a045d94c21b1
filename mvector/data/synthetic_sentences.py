"""Short sentences in six languages, written for the quickstart's synthetic corpus.

Each language has openings, middles and ends that fit together in any choice: 8³ = 512 sentences of two to four seconds.
"""

import numpy as np

# eSpeak NG's name of the language → the three parts of a sentence.
PHRASES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "en-us": (
        (
            "My older sister",
            "The new teacher",
            "Our neighbour's son",
            "A tired nurse",
            "The young fisherman",
            "His best friend",
            "That quiet painter",
            "The baker's daughter",
        ),
        (
            "is buying fresh bread",
            "tells a long story",
            "writes three letters",
            "repairs an old bicycle",
            "sings a cheerful song",
            "waits for the train",
            "drinks hot tea with milk",
            "looks for the lost key",
        ),
        (
            "at the market this morning.",
            "before the shops close.",
            "on the other side of the river.",
            "in the garden behind the house.",
            "while it rains outside.",
            "every Thursday evening.",
            "near the yellow church.",
            "at a quarter past seven.",
        ),
    ),
    "cmn": (
        (
            "我的姐姐",
            "新来的老师",
            "邻居的儿子",
            "年轻的医生",
            "那位老渔夫",
            "他的好朋友",
            "安静的画家",
            "面包店的姑娘",
        ),
        (
            "今天早上",
            "每天晚上",
            "星期四下午",
            "下雨的时候",
            "在河的对岸",
            "在房子后面",
            "在火车站旁边",
            "在城里的市场",
        ),
        (
            "买新鲜的水果。",
            "讲一个故事。",
            "写了三封信。",
            "修理旧自行车。",
            "唱一首老歌。",
            "等她的弟弟。",
            "喝一杯热茶。",
            "找丢了的钥匙。",
        ),
    ),
    "es": (
        (
            "Mi hermana mayor",
            "El nuevo maestro",
            "El hijo del vecino",
            "Una enfermera cansada",
            "El joven pescador",
            "Su mejor amigo",
            "Aquel pintor callado",
            "La hija del panadero",
        ),
        (
            "compra pan fresco",
            "cuenta una historia larga",
            "escribe tres cartas",
            "arregla una bicicleta vieja",
            "canta una canción alegre",
            "espera el tren",
            "bebe té caliente con leche",
            "busca la llave perdida",
        ),
        (
            "en el mercado esta mañana.",
            "antes de que cierren las tiendas.",
            "al otro lado del río.",
            "en el jardín detrás de la casa.",
            "mientras llueve en la calle.",
            "todos los jueves por la tarde.",
            "cerca de la iglesia amarilla.",
            "a las siete y cuarto.",
        ),
    ),
    "fr": (
        (
            "Ma grande sœur",
            "Le nouveau professeur",
            "Le fils du voisin",
            "Une infirmière fatiguée",
            "Le jeune pêcheur",
            "Son meilleur ami",
            "Ce peintre silencieux",
            "La fille du boulanger",
        ),
        (
            "achète du pain frais",
            "raconte une longue histoire",
            "écrit trois lettres",
            "répare un vieux vélo",
            "chante une chanson joyeuse",
            "attend le prochain train",
            "boit du thé chaud avec du lait",
            "cherche la clé perdue",
        ),
        (
            "au marché ce matin.",
            "avant la fermeture des magasins.",
            "de l'autre côté de la rivière.",
            "dans le jardin derrière la maison.",
            "pendant qu'il pleut dehors.",
            "tous les jeudis soirs.",
            "près de l'église jaune.",
            "à sept heures et quart.",
        ),
    ),
    "de": (
        (
            "Meine große Schwester",
            "Der neue Lehrer",
            "Der Sohn des Nachbarn",
            "Eine müde Krankenschwester",
            "Der junge Fischer",
            "Sein bester Freund",
            "Jener stille Maler",
            "Die Tochter des Bäckers",
        ),
        (
            "kauft frisches Brot",
            "erzählt eine lange Geschichte",
            "schreibt drei Briefe",
            "repariert ein altes Fahrrad",
            "singt ein fröhliches Lied",
            "wartet auf den Zug",
            "trinkt heißen Tee mit Milch",
            "sucht den verlorenen Schlüssel",
        ),
        (
            "heute früh auf dem Markt.",
            "bevor die Läden schließen.",
            "auf der anderen Seite des Flusses.",
            "im Garten hinter dem Haus.",
            "während es draußen regnet.",
            "an jedem Donnerstagabend.",
            "neben der gelben Kirche.",
            "um Viertel nach sieben.",
        ),
    ),
    "ru": (
        (
            "Моя старшая сестра",
            "Новый учитель",
            "Сын соседа",
            "Усталая медсестра",
            "Молодой рыбак",
            "Его лучший друг",
            "Тихий художник",
            "Дочь пекаря",
        ),
        (
            "покупает свежий хлеб",
            "рассказывает длинную историю",
            "пишет три письма",
            "чинит старый велосипед",
            "поёт весёлую песню",
            "ждёт вечерний поезд",
            "пьёт горячий чай с молоком",
            "ищет потерянный ключ",
        ),
        (
            "на рынке сегодня утром.",
            "до закрытия магазинов.",
            "на другом берегу реки.",
            "в саду за домом.",
            "пока на улице идёт дождь.",
            "каждый четверг вечером.",
            "возле жёлтой церкви.",
            "в четверть восьмого.",
        ),
    ),
}


def draw_sentences(language: str, count: int, rng: np.random.Generator) -> list[str]:
    """`count` different sentences of `language` (a key of PHRASES)."""
    parts = PHRASES[language]
    joiner = "" if language == "cmn" else " "
    shape = tuple(len(part) for part in parts)
    chosen = rng.choice(int(np.prod(shape)), size=count, replace=False)
    return [
        joiner.join(part[i] for part, i in zip(parts, np.unravel_index(number, shape), strict=True))
        for number in chosen
    ]
