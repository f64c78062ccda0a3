import type { Random } from './random.ts'

interface Culture {
  readonly given: readonly string[]
  readonly family: readonly string[]
}

const words = (text: string): readonly string[] => text.trim().split(/\s+/)

/** Given and family names that go together, from many parts of the world, in the order in which they are mostly written in English. */
const cultures: readonly Culture[] = [
  {
    given: words('Amara Chidi Ngozi Emeka Ifeoma Obinna Adaeze Tobe Chioma Kelechi Uche Nneka'),
    family: words('Okafor Eze Nwosu Obi Okonkwo Adeyemi Balogun Onyeka Ibe Chukwu'),
  },
  {
    given: words('Kwame Abena Kofi Akosua Yaw Efua Ama Kojo Esi Nana'),
    family: words('Mensah Boateng Asante Owusu Appiah Osei Addo Frimpong'),
  },
  {
    given: words('Wanjiru Kamau Achieng Otieno Njeri Mwangi Zawadi Baraka'),
    family: words('Kariuki Odhiambo Ochieng Wambui Maina Kiptoo Njoroge'),
  },
  {
    given: words('Thandiwe Sipho Lerato Bongani Nomsa Tshepo Zanele Kagiso'),
    family: words('Dlamini Nkosi Mokoena Khumalo Ndlovu Zulu Molefe'),
  },
  { given: words('Selam Dawit Hanna Yonas Meron Abel Tigist Bereket'), family: words('Tesfaye Bekele Haile Alemu Girma Tadesse') },
  {
    given: words('Layla Omar Yasmin Karim Nour Hassan Salma Tariq Farah Khalil Rania Samir'),
    family: words('Haddad Mansour Khoury Nasser Saleh Darwish Aziz Farouk Hamdan Sabbagh'),
  },
  {
    given: words('Shirin Dariush Parisa Kaveh Nasrin Arash Mina Babak Laleh'),
    family: words('Tehrani Karimi Rostami Ahmadi Moradi Sohrabi Jafari'),
  },
  {
    given: words('Elif Emre Zeynep Mehmet Ayşe Deniz Selin Burak Defne Kerem'),
    family: words('Yılmaz Demir Kaya Şahin Aydın Öztürk Arslan Koç'),
  },
  { given: words('Noa Eitan Tamar Yonatan Shira Amit Maya Gil'), family: words('Levi Mizrahi Friedman Peretz Shapira Katz Barak') },
  {
    given: words('Priya Arjun Ananya Rohan Meera Vikram Kavya Aditya Lakshmi Sanjay Ishita Nikhil Divya Rahul'),
    family: words('Sharma Iyer Patel Nair Gupta Reddy Banerjee Kulkarni Chatterjee Menon Rao Desai'),
  },
  {
    given: words('Ayesha Bilal Fatima Usman Zainab Hamza Sana Imran'),
    family: words('Khan Ahmed Malik Qureshi Siddiqui Hussain Chaudhry'),
  },
  { given: words('Nusrat Tanvir Sharmin Arif Farzana Rafiq'), family: words('Rahman Chowdhury Islam Hossain Akter Karim') },
  {
    given: words('Wei Xiaoming Jing Hao Mei Lin Yan Jun Xin Ting Bo Ying'),
    family: words('Zhang Wang Li Chen Liu Yang Huang Zhao Wu Zhou Xu'),
  },
  {
    given: words('Yuki Haruto Sakura Kenji Aiko Takumi Hana Ryo Emi Sota Naomi Daiki'),
    family: words('Tanaka Sato Suzuki Yamamoto Nakamura Kobayashi Watanabe Ito Mori Fujita'),
  },
  {
    given: words('Minji Jisoo Hyun Seojun Yuna Jiwoo Taeyang Sora Dohyun Eunji'),
    family: words('Kim Park Choi Jung Kang Yoon Lim Han Seo'),
  },
  { given: words('Linh Minh Thảo Huy Mai Quang Lan Tuấn Hương'), family: words('Nguyễn Trần Phạm Hoàng Vũ Đặng Bùi') },
  {
    given: words('Siti Budi Dewi Agus Putri Rizky Ayu Bayu Intan'),
    family: words('Santoso Wijaya Pratama Lestari Hidayat Kusuma Nugroho'),
  },
  {
    given: words('Maria Jose Angel Grace Paolo Bea Miguel Joy Carlo'),
    family: words('Santos Reyes Cruz Bautista Villanueva Mendoza Aquino'),
  },
  { given: words('Somchai Malee Anong Niran Ploy Kanya Arthit'), family: words('Srisai Wongsakul Chaiyasit Rattana Suwan') },
  {
    given: words('Sofía Mateo Valentina Diego Camila Andrés Lucía Javier Ximena Rafael Paloma Joaquín'),
    family: words('García Hernández Morales Castillo Rojas Vargas Ortega Navarro Fuentes Delgado Ibarra'),
  },
  {
    given: words('Ana João Beatriz Tiago Larissa Thiago Marina Caio Letícia Rui'),
    family: words('Silva Oliveira Souza Ferreira Almeida Carvalho Ribeiro Teixeira'),
  },
  {
    given: words('Camille Julien Élodie Mathieu Chloé Antoine Margaux Lucas Aurélie Théo'),
    family: words('Dubois Lefèvre Moreau Girard Fontaine Mercier Rousseau Blanchard'),
  },
  {
    given: words('Giulia Marco Chiara Luca Francesca Matteo Elena Davide'),
    family: words('Rossi Bianchi Ricci Conti Ferrari Galli Marchetti'),
  },
  {
    given: words('Anna Jonas Lena Felix Greta Moritz Johanna Lukas Frieda Max'),
    family: words('Müller Schneider Wagner Becker Hoffmann Krüger Vogel Lang'),
  },
  { given: words('Fenna Daan Sanne Bram Lotte Thijs Femke Joost'), family: words('Bakker Visser Smit Mulder Bos Dekker Hendriks') },
  {
    given: words('Ingrid Lars Astrid Erik Freja Nils Sigrid Magnus Maja Oskar'),
    family: words('Lindqvist Hansen Berg Johansson Dahl Nygård Holm Eriksen'),
  },
  { given: words('Aino Mikko Helmi Eero Sanna Juhani'), family: words('Virtanen Korhonen Laine Heikkinen Salonen') },
  {
    given: words('Zofia Jakub Kasia Piotr Agnieszka Tomasz Magda Wojtek'),
    family: words('Kowalczyk Nowak Wiśniewska Zieliński Kamińska Lewandowski Mazur'),
  },
  {
    given: words('Oksana Andriy Iryna Taras Daryna Bohdan Solomiya Maksym'),
    family: words('Shevchenko Kovalenko Bondarenko Tkachenko Melnyk Kravchuk'),
  },
  { given: words('Eleni Nikos Katerina Dimitris Sofia Giorgos'), family: words('Papadopoulos Georgiou Nikolaidis Vlachos Kostas') },
  { given: words('Ioana Andrei Raluca Mihai Elena Vlad'), family: words('Popescu Ionescu Dumitru Stan Marin Ursu') },
  { given: words('Siobhán Cian Aoife Declan Niamh Oisín Róisín Eoin'), family: words("O'Brien Byrne Kelly Murphy Gallagher Nolan Doyle") },
  {
    given: words('Emma Oliver Hazel Theo Ruth Callum Iris Owen Nora Miles Edith Rowan Clara Finn'),
    family: words('Whitaker Hughes Clarke Bennett Fraser Ellis Marsh Caldwell Pryce Sutton Rhodes Langley'),
  },
  {
    given: words('Maya Elijah Simone Andre Naomi Jordan Imani Terrence'),
    family: words('Washington Brooks Coleman Rivers Banks Freeman Booker'),
  },
  { given: words('Aroha Tāne Mere Wiremu Hana Nikau'), family: words('Ngata Parata Tamihana Walker Henare') },
  { given: words('Leilani Keoni Malia Kai Noelani'), family: words('Kahale Kealoha Mahoe Akana') },
]

/** Somebody's name. Of two people some share one, as in life. */
export function personName(random: Random): string {
  const { given, family } = random.pick(cultures)
  return `${random.pick(given)} ${random.pick(family)}`
}
